"""A transport to an agent in the same process keeps the contract."""

import pytest

from penguiflow.remote import RemoteTransport, ResumableTransport
from penguiflow_conformance import ContractAgent, RemoteTransportContract
from penguiflow_conformance._adapters import Make
from penguiflow_conformance._remote.in_process import URL, LocalTransport


class TestLocalTransport(RemoteTransportContract):
    requires = frozenset({ResumableTransport})

    @pytest.fixture
    def make_transport(self) -> Make[RemoteTransport]:
        return lambda: LocalTransport(ContractAgent())

    @pytest.fixture
    def agent_url(self) -> str:
        return URL
