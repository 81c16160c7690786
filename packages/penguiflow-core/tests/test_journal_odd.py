"""Journaled flows in odd surroundings: stores that hang or fail once, deaths after a fetch, results that do not fit."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from penguiflow import (
    Context,
    FlowError,
    FlowErrorCode,
    FlowStopped,
    InMemoryStateStore,
    InProcBus,
    Message,
    Node,
    NodePolicy,
    PenguiFlow,
    QueueFull,
    TraceCancelled,
    create,
)


async def shout(text: str, ctx: Context) -> str:
    return text.upper()


async def hangs(text: str, ctx: Context) -> None:
    await asyncio.Event().wait()


class Flaky(InMemoryStateStore):
    """A store one of whose methods raises or hangs as often as it is told to."""

    def __init__(self, method: str, *, failures: int = 1, hang: bool = False) -> None:
        super().__init__()
        self.failures = failures
        self.failed = asyncio.Event()
        sound = getattr(self, method)

        async def call(*args: Any, **options: Any) -> Any:
            if self.failures:
                self.failures -= 1
                self.failed.set()
                if hang:
                    await asyncio.Event().wait()
                raise OSError("the store is away")
            return await sound(*args, **options)

        setattr(self, method, call)


async def abandoned(store: InMemoryStateStore, flow: PenguiFlow, *trace_ids: str) -> None:
    """Leave traces, or trace "t", in the store as a process leaves them that stops before they ran."""
    flow.run(state_store=store, resume=False)
    for trace_id in trace_ids or ("t",):
        await flow.submit(Message(payload="x", trace_id=trace_id))
    await flow.stop(drain=False)


async def test_a_resume_that_failed_can_be_tried_again() -> None:
    store = Flaky("load_steps")
    await abandoned(store, create(Node(shout)))
    async with create(Node(shout)).run(state_store=store, resume=False) as flow:
        with pytest.raises(OSError, match="away"):
            await flow.resume("t")
        assert flow.active_traces == []
        async with asyncio.timeout(5):
            assert (await (await flow.resume("t")).result()).payload == "X"


@pytest.mark.parametrize(
    ("method", "node"), [("finish_trace", shout), ("release", hangs), ("open_trace", shout), ("record_step", shout)]
)
async def test_a_stop_tells_everyone_though_the_store_hangs(
    method: str, node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penguiflow._runtime.runtime._FLUSH_S", 0.1)
    store = Flaky(method, failures=1000, hang=True)
    flow = create(Node(node))
    flow.run(state_store=store, resume=False)
    trace = flow.submit_nowait("x")
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        await flow.stop(drain=False)
        with pytest.raises(FlowError):
            await trace.result()


async def test_a_result_that_does_not_fit_its_annotation_ends_an_attached_trace() -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def lies(text: str, ctx: Context) -> int:
        started.set()
        await release.wait()
        return "no number"  # type: ignore[return-value]

    store = InMemoryStateStore()
    async with create(Node(lies)).run(state_store=store) as flow, create(Node(lies)).run(state_store=store) as other:
        trace = await flow.submit(Message(payload="x", trace_id="t"))
        await started.wait()
        attached = await other.attach("t")
        release.set()
        assert (await trace.result()).payload == "no number"
        async with asyncio.timeout(5):
            with pytest.raises(FlowError) as failure:
                await attached.result()
    assert failure.value.code == FlowErrorCode.VALIDATION_FAILED


async def sends(text: str, ctx: Context) -> None:
    for number in range(3):
        await ctx.emit(number)


async def test_what_a_node_has_fetched_does_not_come_again_after_a_death() -> None:
    ran: Counter[str] = Counter()
    reached, release = asyncio.Event(), asyncio.Event()

    async def gathers(number: int, ctx: Context) -> list[int]:
        ran[ctx.idempotency_key] += 1
        return [number, await ctx.fetch(), await ctx.fetch()]

    async def waits(numbers: list[int], ctx: Context) -> list[int]:
        reached.set()
        await release.wait()
        return numbers

    def flow() -> PenguiFlow:
        return create(Node(sends).to(two := Node(gathers)), two.to(Node(waits)))

    store = InMemoryStateStore()
    async with flow().run(state_store=store, resume=False) as first:
        await first.submit(Message(payload="x", trace_id="t"))
        await reached.wait()
        await first.stop(drain=False)
    release.set()
    async with flow().run(state_store=store, resume=False) as second, asyncio.timeout(5):
        assert (await (await second.resume("t")).result()).payload == [0, 1, 2]
    assert list(ran.values()) == [1]


async def test_an_id_is_free_once_the_cancellation_was_awaited() -> None:
    class Slow(InMemoryStateStore):
        async def finish_trace(self, *args: Any, **options: Any) -> Any:
            await asyncio.sleep(0.05)
            return await super().finish_trace(*args, **options)

    async with create(Node(hangs)).run(state_store=Slow()) as flow:
        for _ in range(3):
            trace = await flow.submit(Message(payload="x", trace_id="t"))
            assert await flow.cancel("t") is True
            with pytest.raises(TraceCancelled):
                await trace.result()


async def test_a_cancelled_trace_cannot_be_cancelled_again() -> None:
    async with create(Node(hangs)).run(state_store=InMemoryStateStore()) as flow:
        await flow.submit(Message(payload="x", trace_id="t"))
        assert flow.cancel("t")
        assert not flow.cancel("t")


@pytest.mark.parametrize("msg", ["in use", "not JSON"])
async def test_a_submission_that_raised_is_not_logged_as_unseen(msg: str, caplog: pytest.LogCaptureFixture) -> None:
    store = InMemoryStateStore()
    async with create(Node(hangs)).run(state_store=store) as flow, create(Node(hangs)).run(state_store=store) as other:
        await flow.submit(Message(payload="x", trace_id="t"))
        with pytest.raises(FlowError):
            await other.submit(Message(payload="x" if msg == "in use" else object(), trace_id="t"))
        await flow.cancel("t")
    assert "nobody awaited" not in caplog.text


async def test_a_submission_that_the_store_refuses_fails_with_store_failed() -> None:
    async with create(Node(shout)).run(state_store=Flaky("open_trace")) as flow:
        with pytest.raises(FlowError, match="away") as failure:
            await flow.submit(Message(payload="x", trace_id="t"))
        assert failure.value.code == FlowErrorCode.STORE_FAILED
        assert (await flow.ask(Message(payload="x", trace_id="t"))).payload == "X"


async def test_a_result_stays_as_it_is_where_a_bus_goes_unused() -> None:
    made = {"key": (1, 2)}

    async def makes(text: str, ctx: Context) -> dict[str, Any]:
        return made

    async with create(Node(makes)).run(state_store=InMemoryStateStore(), message_bus=InProcBus()) as flow:
        assert (await flow.ask("x")) is made


async def test_submit_nowait_is_bounded_while_the_store_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penguiflow._runtime.runtime._FLUSH_S", 0.1)
    store = Flaky("open_trace", failures=1000, hang=True)
    flow = create(Node(shout), queue_maxsize=4)
    flow.run(state_store=store, resume=False)
    for _ in range(4):
        flow.submit_nowait("x")
    with pytest.raises(QueueFull):
        flow.submit_nowait("x")
    assert len(flow.active_traces) == 4
    await flow.stop(drain=False)


async def test_an_outcome_is_asked_for_again_where_the_store_was_away() -> None:
    release = asyncio.Event()

    async def waits(text: str, ctx: Context) -> str:
        await release.wait()
        return text

    flaky = Flaky("load_trace", failures=0)
    async with create(Node(waits)).run(state_store=flaky) as flow, create(Node(waits)).run(state_store=flaky) as other:
        await flow.submit(Message(payload="x", trace_id="t"))
        attached = await other.attach("t")
        flaky.failures = 1
        release.set()
        async with asyncio.timeout(5):
            assert (await attached.result()).payload == "x"


async def test_a_resume_that_is_cancelled_while_it_waits_loses_no_trace() -> None:
    store = InMemoryStateStore()
    release = asyncio.Event()

    async def waits(text: str, ctx: Context) -> str:
        await release.wait()
        return text

    def flow() -> PenguiFlow:
        return create(Node(waits, policy=NodePolicy(max_concurrency=1)), queue_maxsize=1)

    await abandoned(store, flow())
    async with flow().run(state_store=store, resume=False) as full:
        others = [await full.submit(text) for text in "ab"]
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await full.resume("t")
        release.set()
        async with asyncio.timeout(5):
            assert [await other.result() for other in others] == ["a", "b"]
            assert (await (await full.resume("t")).result()).payload == "x"


async def test_a_store_that_hung_once_is_asked_again_how_traces_stand() -> None:
    store = Flaky("load_states", hang=True)
    options: dict[str, Any] = {"state_store": store, "lease_s": 0.5, "resume": False}
    async with create(Node(hangs)).run(**options) as flow, create(Node(hangs)).run(**options) as other:
        trace = await flow.submit(Message(payload="x", trace_id="t"))
        await store.failed.wait()
        assert await other.cancel("t")
        async with asyncio.timeout(5):
            with pytest.raises(TraceCancelled):
                await trace.result()


async def test_a_store_that_does_not_extend_in_time_is_asked_again() -> None:
    asked = 0

    class Hanging(InMemoryStateStore):
        async def extend(self, *args: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == 1:
                await asyncio.Event().wait()
            again.set()
            return await super().extend(*args, **options)

    again = asyncio.Event()
    async with create(Node(hangs)).run(state_store=Hanging(), lease_s=0.2) as flow:
        trace = await flow.submit("x")
        async with asyncio.timeout(5):
            await again.wait()
        await trace.cancel()


def test_a_program_that_ends_without_a_stop_leaves_its_traces_to_be_resumed(caplog: pytest.LogCaptureFixture) -> None:
    store = InMemoryStateStore()

    async def program() -> None:
        flow = create(Node(hangs), Node(shout))
        flow.run(state_store=store, message_bus=InProcBus())
        for name in ("t", "u"):
            await flow.submit(Message(payload="x", trace_id=name))
        await asyncio.sleep(0.01)

    async def look() -> list[str]:
        return [record.outcome.state for record in await store.list_traces()]

    asyncio.run(program())
    assert asyncio.run(look()) == ["running", "running"]
    assert "destroyed" not in caplog.text


async def ends(store: InMemoryStateStore, *trace_ids: str) -> None:
    """Return when these traces have ended."""
    async with create(Node(shout)).run(state_store=store, resume=False) as flow, asyncio.timeout(5):
        for trace_id in trace_ids:
            assert (await (await flow.attach(trace_id)).result()).payload == "X"


@pytest.mark.parametrize("method", ["claim", "load_trace", "load_steps"])
async def test_a_trace_that_the_store_fails_for_holds_up_no_other(method: str) -> None:
    store = Flaky(method, failures=0)
    await abandoned(store, create(Node(hangs, name="shout")), "t", "u")
    store.failures = 1
    # The next look comes after ten seconds.
    async with create(Node(shout)).run(state_store=store, lease_s=30):
        await store.failed.wait()
        await ends(store, "u")


@pytest.mark.parametrize("method", ["unfinished", "claim", "load_trace", "load_steps"])
async def test_a_store_that_hangs_once_holds_up_abandoned_traces_for_a_while(method: str) -> None:
    store = Flaky(method, failures=0, hang=True)
    await abandoned(store, create(Node(hangs, name="shout")), "t", "u")
    store.failures = 1
    async with create(Node(shout)).run(state_store=store, lease_s=0.3):
        await store.failed.wait()
        await ends(store, "u", "t")


async def test_a_claim_that_was_not_answered_is_made_again() -> None:
    class Silent(InMemoryStateStore):
        claims = 0

        async def claim(self, *args: Any, **options: Any) -> Any:
            claim = await super().claim(*args, **options)
            self.claims += 1
            if self.claims == 1:
                await asyncio.Event().wait()
            return claim

    store = Silent()
    await abandoned(store, create(Node(shout)))
    async with create(Node(shout)).run(state_store=store, lease_s=0.3):
        await ends(store, "t")


@pytest.mark.parametrize("awaited", [True, False])
async def test_a_cancel_that_the_store_does_not_take_says_so(awaited: bool, caplog: pytest.LogCaptureFixture) -> None:
    store = Flaky("load_trace")
    async with create(Node(shout)).run(state_store=store) as flow:
        cancellation = flow.cancel("t")
        if awaited:
            with pytest.raises(FlowError, match=r"not cancelled.*the store is away") as failure:
                await cancellation
            assert failure.value.code == FlowErrorCode.STORE_FAILED
    assert "the trace was not cancelled" in caplog.text
    assert "please report" not in caplog.text


class Late(InMemoryStateStore):
    """A store that begins a trace when it is let go, also where the call was cancelled before that."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.opening = asyncio.Event()
        self.finished = asyncio.Event()

    async def open_trace(self, *args: Any, **options: Any) -> Any:
        async def open_late() -> Any:
            await self.let_go.wait()
            return await InMemoryStateStore.open_trace(self, *args, **options)

        self.opening.set()
        return await asyncio.shield(asyncio.ensure_future(open_late()))

    async def finish_trace(self, *args: Any, **options: Any) -> Any:
        outcome = await super().finish_trace(*args, **options)
        self.finished.set()
        return outcome


async def test_a_cancelled_submission_that_begins_late_is_cancelled_in_the_store() -> None:
    store = Late()
    async with create(Node(shout)).run(state_store=store, resume=False) as flow:
        submission = asyncio.ensure_future(flow.submit(Message(payload="x", trace_id="t")))
        await store.opening.wait()
        submission.cancel()
        await asyncio.wait([submission])
        assert submission.cancelled()
        assert flow.active_traces == []
        store.let_go.set()
        async with asyncio.timeout(5):
            await store.finished.wait()
    record = await store.load_trace("t")
    assert record is not None
    assert record.outcome.state == "cancelled"


async def test_a_submission_ends_with_the_flow_though_the_store_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penguiflow._runtime.runtime._FLUSH_S", 0.1)
    store = Flaky("open_trace", hang=True)
    flow = create(Node(shout))
    flow.run(state_store=store, resume=False)
    submission = asyncio.ensure_future(flow.submit("x"))
    await store.failed.wait()
    async with asyncio.timeout(5):
        await flow.stop(drain=False)
        with pytest.raises(FlowStopped):
            await submission
