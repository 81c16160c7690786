"""The client keeps the contract of a transport, against an agent on the server over a real connection."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from penguiflow import Context, FlowError, Message, Node, RemoteNode, create
from penguiflow.remote import RemoteTransport, ResumableTransport
from penguiflow_a2a import A2AClientTransport
from penguiflow_a2a.server import InputRequired, Rejected
from penguiflow_conformance import AgentEnded, ContractAgent, RemoteTransportContract

Serve = Callable[..., Any]
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def contract_flow() -> Any:
    agent = ContractAgent()

    async def act(message: Message, ctx: Context) -> Any:
        async def emit(text: str) -> None:
            await ctx.emit_chunk("text", text=text)

        try:
            return await agent.answer(message.meta["a2a"]["skill"], message.payload, emit)
        except AgentEnded as ended:
            match ended.state:
                case "input-required":
                    return InputRequired(ended.message)
                case "rejected":
                    return Rejected(ended.message)
                case _:
                    raise FlowError(code="AGENT_FAILED", message=ended.message) from ended

    return create(Node(act, name="act").to(), name="contract")


class TestA2AClientTransport(RemoteTransportContract):
    requires = frozenset({ResumableTransport})
    options: ClassVar[dict[str, Any]] = {"versions": ["1.0"], "bindings": ["JSONRPC"]}

    @pytest.fixture
    async def agent_url(self, serve_for_real: Serve) -> str:
        agent = await serve_for_real(contract_flow())
        return str(agent.client.base_url).rstrip("/")

    @pytest.fixture
    def make_transport(self, agent_url: str) -> Callable[[], RemoteTransport]:
        return lambda: A2AClientTransport(base_url=agent_url, allow_origins=[self.dead_url], **self.options)


class TestOldestOverRest(TestA2AClientTransport):
    options: ClassVar[dict[str, Any]] = {"versions": ["0.3"], "bindings": ["HTTP+JSON"]}


class Further(TestA2AClientTransport):
    """What lies between the two that differ most: a minute each, for the full scale."""

    @pytest.fixture(autouse=True)
    def only_in_full(self, scale: Callable[[int, int], int]) -> None:
        if not scale(0, 1):
            pytest.skip("the two bindings that differ most run always, those between them in the full scale")


class TestOverRest(Further):
    options: ClassVar[dict[str, Any]] = {"versions": ["1.0"], "bindings": ["HTTP+JSON"]}


class TestOldest(Further):
    options: ClassVar[dict[str, Any]] = {"versions": ["0.3"], "bindings": ["JSONRPC"]}


async def test_the_trace_context_of_a_message_reaches_the_agent(serve_for_real: Serve) -> None:
    seen: list[dict[str, Any]] = []

    async def note(message: Message, ctx: Context) -> str:
        seen.append(message.meta)
        return "noted"

    agent = await serve_for_real(create(Node(note).to(), name="noting"))
    url = str(agent.client.base_url).rstrip("/")
    async with A2AClientTransport(base_url=url) as transport:
        node = RemoteNode("ask", transport=transport, skill="note", agent_url=url)
        async with create(node) as flow:
            await flow.ask(Message(payload="x", meta={"traceparent": TRACEPARENT, "secret": 1}))

    assert seen[0]["traceparent"] == TRACEPARENT
    assert "secret" not in str(seen[0])
