"""What type checkers tell users of stores, buses, remote nodes, sinks and the test kit; never run."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, assert_type

from penguiflow import (
    ClientEvent,
    Context,
    Delivery,
    FinalAnswer,
    FlowError,
    InMemoryStateStore,
    InProcBus,
    Message,
    MessageBus,
    ModelRegistry,
    Node,
    NodeTiming,
    NodeTimings,
    PenguiFlow,
    RemoteBinding,
    RemoteFailed,
    RemoteNode,
    RemoteTransport,
    StateStore,
    StoredEvent,
    Trace,
    client_events,
    create,
    log_flow_events,
    map_concurrent,
    run_one,
    send_events,
    simulate_error,
    sse_events,
    to_dot,
    to_mermaid,
)


class HttpTransport:
    """A transport as a user writes it."""

    async def send(self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        return message

    async def stream(
        self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        yield message

    async def cancel(self, agent_url: str, task_id: str) -> None:
        return None


def takes_a_transport(transport: RemoteTransport) -> Node:
    node = RemoteNode("search", transport=transport, skill="find", agent_url="https://agent")
    assert_type(node, Node)
    assert_type(node.kind, str)
    return node


async def answer(question: str, ctx: Context) -> FinalAnswer:
    lengths = await map_concurrent(question.split(), length, max_concurrency=2)
    assert_type(lengths, list[int])
    return FinalAnswer(text=str(lengths))


async def length(word: str) -> int:
    return len(word)


async def persist(store: StateStore, bus: MessageBus) -> None:
    assert_type(await store.load_history("t"), list[StoredEvent])
    event = (await store.load_history("t"))[0]
    assert_type(event["ts"], float)
    assert_type(event["data"], dict[str, Any])
    delivery = await bus.get("q", timeout_s=1.0)
    assert_type(delivery, Delivery | None)
    if delivery is not None:
        assert_type(delivery.attempt, int)
        await bus.nack(delivery, delay_s=0.5)
    assert_type(await InMemoryStateStore().load_remote_bindings("t"), list[RemoteBinding])


async def serve(flow: PenguiFlow) -> None:
    trace = await flow.submit(Message(payload="q"))
    assert_type(trace, Trace)
    assert_type(sse_events(trace, heartbeat_s=15), AsyncGenerator[bytes, None])
    async for event in client_events(trace):
        assert_type(event, ClientEvent)
        assert_type(event.seq, int | None)
    await send_events(trace, send_text=send)


async def send(text: str) -> None:
    return None


async def use() -> None:
    flow = create(takes_a_transport(HttpTransport()).to(Node(answer)), middlewares=[log_flow_events(), NodeTimings()])
    await persist(InMemoryStateStore(), InProcBus())
    await serve(flow)
    with simulate_error("search", "NODE_TIMEOUT", times=2) as fault:
        await run_one(flow, ModelRegistry(), "q", timeout_s=1.0)
        assert_type(fault.raised, int)
    assert_type(NodeTimings().timings(), list[NodeTiming])
    assert_type(to_mermaid(flow) + to_dot(flow), str)


def explain(error: FlowError) -> None:
    assert_type(error.code, str)
    assert_type(error.partial, list[tuple[str, Any]])
    if isinstance(error, RemoteFailed):
        assert_type(error.task_id, str | None)
