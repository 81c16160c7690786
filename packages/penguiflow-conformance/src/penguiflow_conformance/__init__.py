"""Contract suites for the stores, buses and transports of flows."""

import pytest

# Before they are imported, so that what a broken rule compared is shown.
pytest.register_assert_rewrite("penguiflow_conformance._state", "penguiflow_conformance._bus")
pytest.register_assert_rewrite("penguiflow_conformance._remote", "penguiflow_conformance._waiting")

from penguiflow_conformance._bus.contract import MessageBusContract  # noqa: E402
from penguiflow_conformance._remote.agent import AgentEnded, ContractAgent  # noqa: E402
from penguiflow_conformance._remote.contract import RemoteTransportContract  # noqa: E402
from penguiflow_conformance._state.contract import StateStoreContract  # noqa: E402

__all__ = ["AgentEnded", "ContractAgent", "MessageBusContract", "RemoteTransportContract", "StateStoreContract"]

for _exported in (AgentEnded, ContractAgent, MessageBusContract, RemoteTransportContract, StateStoreContract):
    _exported.__module__ = __name__
