"""Nodes that cancel what they run in: the task, or the trace itself."""

import asyncio

import pytest

from penguiflow import Context, FlowError, FlowErrorCode, Node, TraceCancelled, create


async def cancel_own_task(message: str, ctx: Context) -> str:
    if message != "fine":
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
    if message != "returns":
        await asyncio.sleep(0)
    return message


async def test_a_node_that_cancels_its_own_task_fails_its_trace_alone() -> None:
    async with create(Node(cancel_own_task, "node")) as flow:
        bad, good = flow.submit_nowait("waits"), flow.submit_nowait("fine")
        with pytest.raises(FlowError) as failed:
            await bad.result()
        assert failed.value.code == FlowErrorCode.NODE_CANCELLED
        assert await good.result() == "fine"
        assert await flow.ask("fine") == "fine"


async def test_a_node_that_cancels_its_own_task_and_returns_harms_no_other_trace() -> None:
    async with create(Node(cancel_own_task, "node")) as flow:
        first, second = flow.submit_nowait("returns"), flow.submit_nowait("fine")
        assert await first.result() == "returns"
        assert await second.result() == "fine"


async def test_a_node_that_cancels_its_own_trace_is_interrupted_at_its_first_await() -> None:
    interrupted = asyncio.Event()

    async def cancel_own_trace(message: str, ctx: Context) -> None:
        flow.cancel(ctx.trace_id)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            interrupted.set()
            raise

    flow = create(Node(cancel_own_trace, "node"))
    async with flow:
        with pytest.raises(TraceCancelled):
            await flow.ask("x")
        async with asyncio.timeout(1):
            await interrupted.wait()
