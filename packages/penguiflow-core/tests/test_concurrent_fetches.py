"""Fetches that a node makes at the same time, and fetches made by a task it left behind."""

import asyncio

import pytest

from penguiflow import Context, FlowError, FlowErrorCode, Node, create


async def test_two_fetches_of_one_invocation_wait_while_more_can_come() -> None:
    waits = asyncio.Event()

    async def send(message: str, ctx: Context) -> None:
        for number in range(3):
            await ctx.emit(number)
            await waits.wait()
            await asyncio.sleep(0)

    async def pull(message: int, ctx: Context) -> list[object]:
        asyncio.get_running_loop().call_soon(waits.set)
        return [message, *await asyncio.gather(ctx.fetch(), ctx.fetch(), ctx.fetch())]

    source, sink = Node(send, "source"), Node(pull, "sink")
    async with create(source.to(sink)) as flow, asyncio.timeout(5):
        assert await flow.ask("go") == [0, 1, 2, None]


async def test_a_fetch_by_a_task_that_outlives_its_node_says_so() -> None:
    late: list[asyncio.Task[object]] = []

    async def leaves(message: str, ctx: Context) -> str:
        late.append(asyncio.ensure_future(ctx.fetch()))
        return message

    async def passes(message: str, ctx: Context) -> str:
        await asyncio.wait(late)
        return message

    first, second = Node(leaves, "first"), Node(passes, "second")
    async with create(first.to(second)) as flow, asyncio.timeout(5):
        assert await flow.ask("x") == "x"
        with pytest.raises(FlowError) as failed:
            await late[0]
        assert failed.value.code == FlowErrorCode.TRACE_ENDED
