"""The contract of a RemoteTransport, whole."""

from __future__ import annotations

from penguiflow_conformance._remote.answers import AnswerRules, StreamRules
from penguiflow_conformance._remote.cancelling import RemoteCancellationRules, ResumeRules

__all__ = ["RemoteTransportContract"]


class RemoteTransportContract(AnswerRules, StreamRules, RemoteCancellationRules, ResumeRules):
    """Proves a `RemoteTransport`: subclass it and give it the fixtures `make_transport` and `agent_url`.

    `make_transport` returns a function that makes the transport, plain or async; what is made is closed after the test
    by its `aclose` or `close`, where it has one. `agent_url` is where a `ContractAgent` is served, by any server of
    your protocol; a fixture `agent_card` may give its card. `dead_url` is where no agent is.

    `ResumableTransport` is tested where the transport has it; `requires` may name it.
    """
