"""What type checkers tell users of the runtime; checked by two of them, and never run."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, assert_type

from penguiflow import (
    Adjacency,
    Context,
    FlowError,
    FlowEvent,
    Node,
    NodePolicy,
    PenguiFlow,
    StreamChunk,
    Trace,
    create,
    join_k,
    map_concurrent,
    viz,
)


async def length(text: str, ctx: Context) -> int:
    assert_type(ctx.trace_id, str)
    assert_type(ctx.idempotency_key, str)
    assert_type(ctx.deadline_s, float | None)
    await ctx.emit_chunk(text="part", done=True)
    return len(text)


def listen(event: FlowEvent) -> None:
    assert_type(event.trace_id, str)
    assert_type(event.ts, float)
    assert_type(event.latency_ms, float | None)


async def worker(number: int) -> str:
    return str(number)


async def use() -> None:
    node = Node(length, name="length", policy=NodePolicy(timeout_s=1.0, max_retries=2))
    assert_type(node.to(join_k("join", 2)), Adjacency)
    assert_type(node.name, str)

    flow = create(node.to(), on_event=listen)
    assert_type(flow, PenguiFlow)
    assert_type(flow.nodes, Mapping[str, Node])
    assert_type(viz.to_mermaid(flow), str)

    async with flow.run() as running:
        assert_type(running, PenguiFlow)
        trace = await flow.submit("a message")
        assert_type(trace, Trace)
        assert_type(trace.error, FlowError | None)
        assert_type(trace.chunks(), AsyncIterator[StreamChunk])
        assert_type(await trace.results(), list[tuple[str, Any]])
        assert_type(await flow.cancel(trace.trace_id), bool)

    assert_type(await map_concurrent([1, 2], worker, max_concurrency=2), list[str])
