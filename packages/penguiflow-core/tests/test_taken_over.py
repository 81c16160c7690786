"""Traces that another process has taken over, as the process sees them that submitted them and still awaits them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguiflow import (
    Context,
    FlowError,
    FlowErrorCode,
    FlowStopped,
    InMemoryStateStore,
    Message,
    Node,
    PenguiFlow,
    Trace,
    TraceCancelled,
    TraceUnknown,
    create,
)


class Process:
    """A flow of two nodes as one process has it: the first waits until it is let go."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.let_go = asyncio.Event()
        self.started = asyncio.Event()
        self.flow: PenguiFlow = create(Node(self.waits).to(Node(self.ends)))

    async def waits(self, text: str, ctx: Context) -> str:
        self.started.set()
        await self.let_go.wait()
        return f"{text} {self.name}"

    async def ends(self, text: str, ctx: Context) -> str:
        return f"{text} {self.name}"


class Takeover(logging.Handler):
    """Trace "t", which `old` began and `new` has taken over, and which `old` has noticed."""

    def __init__(self) -> None:
        super().__init__()
        self.noticed = asyncio.Event()
        self.store = InMemoryStateStore()
        self.old, self.new = Process("old"), Process("new")
        self.stack = contextlib.AsyncExitStack()

    def emit(self, record: logging.LogRecord) -> None:
        if "taken over by another process" in record.getMessage():
            self.noticed.set()

    async def begin(self, **options: Any) -> Trace:
        for process in (self.old, self.new):
            await self.stack.enter_async_context(process.flow.run(state_store=self.store, resume=False))
        trace = await self.old.flow.submit(Message(payload="by", trace_id="t", **options))
        await self.old.started.wait()
        return trace

    async def take(self) -> Trace:
        taken = await self.new.flow.resume("t", force=True)
        self.old.let_go.set()
        await self.noticed.wait()
        assert self.old.flow.active_traces == []
        return taken


@pytest.fixture
async def takeover() -> AsyncIterator[Takeover]:
    takeover = Takeover()
    logger = logging.getLogger("penguiflow")
    logger.addHandler(takeover)
    async with takeover.stack, asyncio.timeout(10):
        yield takeover
    logger.removeHandler(takeover)


async def test_whoever_awaits_a_trace_gets_what_it_came_to_elsewhere(takeover: Takeover) -> None:
    trace = await takeover.begin()
    await takeover.take()
    assert not trace.done
    assert trace.error is None

    takeover.new.let_go.set()

    assert (await trace.result()).payload == "by new new"
    assert [step.node_name for step in await takeover.store.load_steps("t")] == ["waits", "ends"]


async def test_a_takeover_is_noticed_when_leases_are_extended(takeover: Takeover) -> None:
    await takeover.stack.enter_async_context(takeover.old.flow.run(state_store=takeover.store, lease_s=0.1))
    await takeover.stack.enter_async_context(takeover.new.flow.run(state_store=takeover.store, resume=False))
    asked = asyncio.ensure_future(takeover.old.flow.ask(Message(payload="by", trace_id="t")))
    await takeover.old.started.wait()
    await takeover.new.flow.resume("t", force=True)
    await takeover.noticed.wait()

    takeover.new.let_go.set()

    assert (await asked).payload == "by new new"


async def test_a_trace_that_fails_elsewhere_fails_for_whoever_awaits_it(takeover: Takeover) -> None:
    async def fails(text: str, ctx: Context) -> str:
        raise ValueError("no good")

    takeover.new.flow = create(Node(takeover.new.waits).to(Node(fails, name="ends")))
    trace = await takeover.begin()
    await takeover.take()
    takeover.new.let_go.set()

    with pytest.raises(FlowError, match="no good") as failure:
        await trace.result()
    assert (failure.value.code, failure.value.node_name) == (FlowErrorCode.NODE_EXCEPTION, "ends")


async def test_a_cancel_reaches_the_process_that_goes_on(takeover: Takeover) -> None:
    trace = await takeover.begin()
    taken = await takeover.take()

    assert await trace.cancel() is True

    for handle in (trace, taken):
        with pytest.raises(TraceCancelled):
            await handle.result()
    assert await trace.cancel() is False


async def test_the_deadline_still_holds(takeover: Takeover) -> None:
    trace = await takeover.begin(deadline_s=time.time() + 0.5)
    taken = await takeover.take()

    for handle in (trace, taken):
        with pytest.raises(FlowError, match="deadline") as failure:
            await handle.result()
        assert failure.value.code == FlowErrorCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("drain", [True, False])
async def test_a_stop_does_not_wait_for_what_runs_elsewhere(takeover: Takeover, drain: bool) -> None:
    trace = await takeover.begin()
    taken = await takeover.take()

    await takeover.old.flow.stop(drain=drain)

    with pytest.raises(FlowStopped, match="goes on elsewhere"):
        await trace.result()
    takeover.new.let_go.set()
    assert (await taken.result()).payload == "by new new"


async def test_a_drain_does_not_wait_for_what_is_taken_over_meanwhile(takeover: Takeover) -> None:
    trace = await takeover.begin()
    stopping = asyncio.ensure_future(takeover.old.flow.stop(drain=True))
    await asyncio.sleep(0)
    taken = await takeover.new.flow.resume("t", force=True)
    takeover.old.let_go.set()

    await stopping

    with pytest.raises(FlowStopped, match="another process goes on"):
        await trace.result()
    takeover.new.let_go.set()
    assert (await taken.result()).payload == "by new new"


async def test_a_trace_that_comes_back_ends_for_both_handles(takeover: Takeover) -> None:
    trace = await takeover.begin()
    await takeover.take()
    await takeover.new.flow.stop(drain=False)

    again = await takeover.old.flow.resume("t")

    assert (await again.result()).payload == "by old old"
    assert (await trace.result()).payload == "by old old"


async def test_a_node_that_goes_on_regardless_changes_nothing(takeover: Takeover) -> None:
    left = asyncio.Event()

    async def stubborn(text: str, ctx: Context) -> str:
        takeover.old.started.set()
        while not left.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(left.wait(), 60)
        raise ValueError("too late")

    takeover.old.flow = create(Node(stubborn, name="waits").to(Node(takeover.old.ends)))
    await takeover.stack.enter_async_context(takeover.old.flow.run(state_store=takeover.store, lease_s=0.1))
    await takeover.stack.enter_async_context(takeover.new.flow.run(state_store=takeover.store, resume=False))
    trace = await takeover.old.flow.submit(Message(payload="by", trace_id="t"))
    await takeover.old.started.wait()
    await takeover.take()
    left.set()

    takeover.new.let_go.set()
    assert (await trace.result()).payload == "by new new"


async def test_a_trace_that_the_store_has_forgotten_is_waited_for_no_longer(takeover: Takeover) -> None:
    trace = await takeover.begin()
    taken = await takeover.take()
    takeover.new.let_go.set()
    await taken.result()
    await takeover.store.prune(older_than_s=0)

    with pytest.raises(TraceUnknown):
        await trace.result()
