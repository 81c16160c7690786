"""Playbooks that several calls have at once, and flows that call themselves."""

import asyncio

import pytest

from penguiflow import Context, FlowError, FlowErrorCode, Node, PenguiFlow, create


async def test_calls_that_share_a_playbook_which_does_not_run_do_not_stop_it_for_each_other() -> None:
    quick, both = asyncio.Event(), asyncio.Barrier(2)

    async def inner(message: str, ctx: Context) -> str:
        await both.wait()
        if message == "slow":
            await quick.wait()
        return message

    playbook = create(Node(inner, "inner"))

    async def outer(message: str, ctx: Context) -> object:
        return await ctx.call_playbook(playbook, message)

    async with create(Node(outer, "outer")) as flow, asyncio.timeout(5):
        slow, fast = await flow.submit("slow"), await flow.submit("fast")
        assert await fast.result() == "fast"
        quick.set()
        assert await slow.result() == "slow"
        assert not playbook.running


async def test_a_playbook_that_is_just_being_stopped_is_started_again() -> None:
    async def inner(message: int, ctx: Context) -> int:
        return message

    playbook = create(Node(inner, "inner"))

    async def outer(message: int, ctx: Context) -> object:
        for _ in range(message % 4):
            await asyncio.sleep(0)
        return await ctx.call_playbook(playbook, message)

    async with create(Node(outer, "outer")) as flow, asyncio.timeout(5):
        assert await asyncio.gather(*(flow.ask(number) for number in range(100))) == list(range(100))


async def test_a_flow_may_call_itself_deeper_than_its_node_has_slots() -> None:
    async def counts(message: int, ctx: Context) -> int:
        return 0 if message == 0 else 1 + await ctx.call_playbook(flow, message - 1)

    flow = create(Node(counts, "node"), queue_maxsize=4)
    async with flow, asyncio.timeout(5):
        assert await flow.ask(20) == 20
        assert await asyncio.gather(*(flow.ask(2) for _ in range(40))) == [2] * 40


async def test_two_flows_may_call_each_other_deeper_than_their_nodes_have_slots() -> None:
    flows: dict[str, PenguiFlow] = {}

    def counting(other: str) -> Node:
        async def counts(message: int, ctx: Context) -> int:
            return 0 if message == 0 else 1 + await ctx.call_playbook(flows[other], message - 1)

        return Node(counts, "node")

    flows["ping"] = create(counting("pong"), queue_maxsize=4)
    flows["pong"] = create(counting("ping"), queue_maxsize=4)
    async with flows["ping"], flows["pong"], asyncio.timeout(5):
        assert await asyncio.gather(*(flows["ping"].ask(7) for _ in range(40))) == [7] * 40


async def test_a_node_that_goes_on_after_its_trace_was_cancelled_calls_no_playbook() -> None:
    codes: list[str] = []
    started, over = asyncio.Event(), asyncio.Event()

    async def inner(message: str, ctx: Context) -> None:
        await asyncio.Event().wait()

    async def stubborn(message: str, ctx: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with pytest.raises(FlowError) as failed:
                await ctx.call_playbook(create(Node(inner, "inner")), message)
            codes.append(failed.value.code)
            over.set()

    async with create(Node(stubborn, "node")) as flow, asyncio.timeout(4):
        trace = await flow.submit("x")
        await started.wait()
        trace.cancel()
        await over.wait()
    assert codes == [FlowErrorCode.TRACE_CANCELLED]
