"""Stop means stop: cancelling a trace, stopping a flow, and what becomes of those who wait."""

import asyncio

import pytest

from penguiflow import (
    Context,
    FlowDefinitionError,
    FlowError,
    FlowStopped,
    Message,
    Node,
    NodePolicy,
    TraceCancelled,
    create,
)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Gate:
    """A node that waits to be opened, and notes what happens to it."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.entered = asyncio.Event()
        self.log: list[str] = []

    async def __call__(self, message: object, ctx: Context) -> object:
        self.log.append("start")
        self.entered.set()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        self.log.append("end")
        return message


async def test_cancel_ends_the_trace_at_once_and_leaves_others_running() -> None:
    gate = Gate()
    async with create(Node(gate, "gate")) as flow:
        first, second = await flow.submit("a"), await flow.submit("b")
        await gate.entered.wait()
        assert await flow.cancel(first.trace_id) is True
        with pytest.raises(TraceCancelled):
            await first.result()
        gate.opened.set()
        assert await second.result() == "b"
    assert gate.log.count("cancelled") == 1


async def test_cancel_is_idempotent_and_false_for_what_is_not_active() -> None:
    gate = Gate()
    async with create(Node(gate, "gate")) as flow:
        trace = await flow.submit("a")
        assert flow.cancel(trace.trace_id)
        assert not flow.cancel(trace.trace_id)
        assert await flow.cancel("unknown") is False
        assert not trace.cancel()


async def test_awaiters_get_trace_cancelled_and_never_cancelled_error() -> None:
    gate = Gate()
    async with create(Node(gate, "gate")) as flow:
        trace = await flow.submit("a")
        waiting = [asyncio.create_task(trace.result()) for _ in range(3)]
        await gate.entered.wait()
        flow.cancel(trace.trace_id)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, TraceCancelled) for outcome in outcomes)


async def test_cancel_drops_the_queued_work_of_its_trace_alone() -> None:
    gate = Gate()
    served: list[object] = []

    async def split(message: Message, ctx: Context) -> None:
        for n in range(5):
            await ctx.emit((message.payload, n))

    async def work(item: tuple[str, int], ctx: Context) -> None:
        if not served:
            await gate(item, ctx)
        served.append(item)

    async with create(Node(split).to(Node(work, policy=NodePolicy(max_concurrency=1)))) as flow:
        doomed, spared = await flow.submit(Message(payload="a")), await flow.submit(Message(payload="b"))
        await gate.entered.wait()
        await turns()
        assert await doomed.cancel()
        gate.opened.set()
        await spared.result()
    assert served == [("b", n) for n in range(5)]


async def test_an_id_may_be_used_again_at_once_and_late_work_of_the_old_run_is_dropped() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def stubborn(message: Message, ctx: Context) -> Message:
        if message.payload == "new":
            return message
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await release.wait()
        return message

    async with create(Node(stubborn)) as flow:
        old = await flow.submit(Message(payload="old", trace_id="t"))
        await entered.wait()
        cancellation = flow.cancel("t")
        new = await flow.submit(Message(payload="new", trace_id="t"))
        assert (await new.result()).payload == "new"
        release.set()
        assert await cancellation
        assert await new.results() == [("stubborn", await new.result())]
        with pytest.raises(TraceCancelled):
            await old.result()


async def test_cancelling_the_await_of_a_result_leaves_the_trace_running() -> None:
    gate = Gate()
    async with create(Node(gate, "gate")) as flow:
        trace = await flow.submit("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(trace.result(), 0.01)
        assert not trace.done
        gate.opened.set()
        assert await trace.result() == "a"


async def test_leaving_async_with_trace_cancels_it() -> None:
    gate = Gate()
    async with create(Node(gate, "gate")) as flow:
        async with await flow.submit("a") as trace:
            await gate.entered.wait()
        with pytest.raises(TraceCancelled):
            await trace.result()
    assert gate.log == ["start", "cancelled"]


async def test_cancelling_ask_cancels_its_trace() -> None:
    gate = Gate()
    async with create(Node(gate, "gate")) as flow:
        asking = asyncio.create_task(flow.ask("a"))
        await gate.entered.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert flow.active_traces == []
    assert gate.log == ["start", "cancelled"]


async def test_a_trace_cancelled_while_its_node_blocks_on_a_full_queue_is_gone() -> None:
    gate = Gate()

    async def split(message: Message, ctx: Context) -> None:
        for n in range(10):
            await ctx.emit(message.model_copy(update={"payload": n}))

    async with create(Node(split).to(Node(gate, "gate")), queue_maxsize=1) as flow:
        blocked = await flow.submit(Message(payload=0, trace_id="t"))
        await gate.entered.wait()
        await turns()
        assert await blocked.cancel()
        gate.opened.set()
        again = await flow.submit(Message(payload=0, trace_id="t"))
        assert len(await again.results()) == 10


async def test_a_submission_cancelled_while_it_waits_for_admission_was_never_made() -> None:
    gate = Gate()
    async with create(Node(gate, "gate", policy=NodePolicy(max_concurrency=1)), queue_maxsize=1) as flow:
        running = await flow.submit("a")
        await gate.entered.wait()
        queued = await flow.submit("b")
        waiting = asyncio.create_task(flow.submit(Message(payload="c", trace_id="c")))
        await turns()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert "c" not in flow.active_traces
        gate.opened.set()
        assert [await running.result(), await queued.result()] == ["a", "b"]
    assert gate.log.count("start") == 2


async def test_a_node_that_raises_cancelled_error_fails_its_trace_and_keeps_its_worker() -> None:
    async def work(message: str, ctx: object) -> str:
        if message == "bad":
            await asyncio.sleep(0)
            raise asyncio.CancelledError
        return message

    async with create(Node(work, policy=NodePolicy(max_concurrency=1))) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask("bad")
        assert caught.value.code == "NODE_CANCELLED"
        assert await flow.ask("good") == "good"


async def test_a_node_that_awaits_a_cancelled_task_fails_its_trace() -> None:
    async def work(message: str, ctx: object) -> str:
        task = asyncio.ensure_future(asyncio.sleep(10))
        task.cancel()
        await task
        return message

    async with create(Node(work)) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask("x")
    assert caught.value.code == "NODE_CANCELLED"


async def test_a_node_may_cancel_its_own_trace() -> None:
    async def work(message: str, ctx: Context) -> str:
        flow.cancel(ctx.trace_id)
        return message

    async with create(Node(work)) as flow:
        for _ in range(3):
            with pytest.raises(TraceCancelled):
                await flow.ask("x")


async def test_a_graceful_stop_finishes_queued_work_first() -> None:
    done: list[int] = []

    async def work(n: int, ctx: object) -> int:
        await asyncio.sleep(0)
        done.append(n)
        return n

    flow = create(Node(work, policy=NodePolicy(max_concurrency=1)))
    await flow.run()
    traces = [await flow.submit(n) for n in range(20)]
    stopping = asyncio.create_task(flow.stop())
    await turns(1)
    with pytest.raises(FlowStopped, match="stopping"):
        await flow.submit(99)
    await stopping
    assert done == list(range(20))
    assert [await trace.result() for trace in traces] == done


async def test_a_hard_stop_tells_those_who_await() -> None:
    gate = Gate()
    flow = create(Node(gate, "gate", policy=NodePolicy(max_concurrency=1)))
    await flow.run()
    traces = [await flow.submit(n) for n in range(3)]
    fetching = asyncio.create_task(flow.fetch())
    await gate.entered.wait()
    await flow.stop(drain=False)
    for trace in traces:
        with pytest.raises(FlowStopped):
            await trace.result()
    with pytest.raises(FlowStopped):
        await fetching
    assert gate.log == ["start", "cancelled"]


async def test_a_drain_that_takes_too_long_ends_by_force() -> None:
    gate = Gate()
    flow = create(Node(gate, "gate"))
    await flow.run()
    trace = await flow.submit("a")
    await gate.entered.wait()
    await flow.stop(timeout_s=0.01)
    with pytest.raises(FlowStopped):
        await trace.result()
    assert not flow.running


async def test_stop_is_idempotent_and_two_may_stop_at_once() -> None:
    gate = Gate()
    flow = create(Node(gate, "gate"))
    await flow.run()
    trace = await flow.submit("a")
    draining = asyncio.create_task(flow.stop())
    await turns()
    await flow.stop(drain=False)
    await draining
    await flow.stop()
    with pytest.raises(FlowStopped):
        await trace.result()


async def test_cancelling_a_trace_and_stopping_the_flow_at_once_does_not_confuse_the_two() -> None:
    for first in ("cancel", "stop"):
        gate = Gate()
        flow = create(Node(gate, "gate"))
        await flow.run()
        cancelled, stopped = await flow.submit("a"), await flow.submit("b")
        await turns()
        if first == "cancel":
            cancelled.cancel()
            await flow.stop(drain=False)
        else:
            stopping = asyncio.create_task(flow.stop(drain=False))
            cancelled.cancel()
            await stopping
        with pytest.raises(TraceCancelled):
            await cancelled.result()
        with pytest.raises(FlowStopped):
            await stopped.result()
        assert gate.log.count("cancelled") == 2


async def test_a_node_may_not_stop_the_flow_it_would_wait_for() -> None:
    async def work(message: str, ctx: object) -> None:
        await flow.stop()

    async with create(Node(work)) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask("x")
    assert isinstance(caught.value, FlowDefinitionError)


async def test_an_exception_in_the_body_of_async_with_ends_traces_without_waiting() -> None:
    gate = Gate()
    flow = create(Node(gate, "gate"))

    async def use() -> None:
        async with flow:
            await flow.submit("a")
            await gate.entered.wait()
            raise KeyError("body")

    with pytest.raises(KeyError):
        await use()
    assert gate.log == ["start", "cancelled"]


async def test_a_node_that_ignores_its_cancellation_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penguiflow._runtime.invocation.GRACE_S", 0.02)
    release = asyncio.Event()

    async def stubborn(message: str, ctx: object) -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return message

    policy = NodePolicy(timeout_s=0.01, max_retries=3, max_concurrency=1)
    async with create(Node(stubborn, policy=policy)) as flow:
        with pytest.raises(FlowError, match="ignored its cancellation") as caught:
            await flow.ask("a")
        assert caught.value.code == "NODE_TIMEOUT"
        release.set()
        assert await flow.ask("b") == "b"


def test_an_event_loop_that_ends_around_a_running_flow_leaves_no_one_waiting() -> None:
    outcomes: list[object] = []

    async def wait(message: str, ctx: object) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        flow = create(Node(wait))
        flow.run()
        trace = await flow.submit("a")

        async def watch() -> None:
            try:
                await trace.result()
            except BaseException as error:
                outcomes.append(error)
                raise

        watching = asyncio.create_task(watch())
        await turns()
        outcomes.append(watching)

    asyncio.run(main())
    assert isinstance(outcomes[1], FlowStopped | asyncio.CancelledError)
