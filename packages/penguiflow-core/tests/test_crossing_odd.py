"""Flows over several processes in odd surroundings: forged messages, buses that are full, stores that fail once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from penguiflow import (
    Context,
    FlowError,
    FlowErrorCode,
    FlowStopped,
    InMemoryStateStore,
    InProcBus,
    Message,
    ModelRegistry,
    Node,
    NodePolicy,
    PenguiFlow,
    create,
    join_k,
)


async def start(text: str, ctx: Context) -> str:
    return text


async def end(text: str, ctx: Context) -> str:
    return text + "!"


def line() -> PenguiFlow:
    return create(Node(start).to(Node(end)))


class World:
    """A store and a bus, and the flows that run on them."""

    def __init__(self) -> None:
        self.store = InMemoryStateStore()
        self.bus = InProcBus(lease_s=0.5)
        self.stack = contextlib.AsyncExitStack()

    async def run(self, flow: PenguiFlow, *nodes: str, **options: Any) -> PenguiFlow:
        given = {"state_store": self.store, "message_bus": self.bus, "lease_s": 0.5, **options}
        return await self.stack.enter_async_context(flow.run(nodes=set(nodes), **given))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    async with world.stack:
        yield world


async def envelope(world: World) -> dict[str, Any]:
    """Return a message on its way to node "start", as a client that has gone left it."""
    client = line()
    client.run(nodes=set(), state_store=world.store, message_bus=world.bus, resume=False)
    await client.submit(Message(payload="q", trace_id="t"))
    delivery = await world.bus.get("flow:OpenSea→start", timeout_s=5)
    assert delivery is not None
    await world.bus.ack(delivery)
    await client.stop(drain=False)
    return dict(delivery.message)


FIELDS = ("format", "flow", "version", "graph", "trace_id", "generation", "source", "target", "index", "parent", "hop")
REST = ("value", "base", "priority", "deadline_s", "reply_to")


@pytest.mark.parametrize("field", FIELDS + REST)
async def test_a_field_of_the_wrong_type_leaves_nothing_behind(world: World, field: str) -> None:
    message = await envelope(world)
    worker = await world.run(line(), "start", "end", resume=False)
    client = await world.run(line(), resume=False)
    for wrong in (7.5, "text", [1], {"a": 1}):
        await world.bus.put("flow:OpenSea→start", {**message, field: wrong})
    async with asyncio.timeout(2):
        assert await client.ask("q") == "q!"
        await worker.stop(drain=True)
    assert worker.active_traces == []


async def test_metadata_goes_along_that_is_json_by_the_rules_of_pydantic(world: World) -> None:
    async def look(text: str, ctx: Context) -> Any:
        return ctx.meta["day"]

    await world.run(create(Node(start).to(Node(look))), "start")
    await world.run(create(Node(start).to(Node(look))), "look")
    client = await world.run(create(Node(start).to(Node(look))))
    async with asyncio.timeout(5):
        answer = await client.ask(Message(payload="q", meta={"day": date(2024, 5, 1)}))
    assert answer.payload == "2024-05-01"


async def test_a_drain_finishes_what_comes_back_to_the_process(world: World) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def waits(text: str, ctx: Context) -> str:
        started.set()
        await release.wait()
        return text

    def flow() -> PenguiFlow:
        return create(Node(start).to(middle := Node(waits)), middle.to(Node(end)))

    await world.run(flow(), "waits")
    here = flow()
    here.run(nodes={"start", "end"}, state_store=world.store, message_bus=world.bus)
    trace = await here.submit("q")
    await started.wait()
    stopping = asyncio.ensure_future(here.stop(drain=True))
    await asyncio.sleep(0)
    release.set()
    async with asyncio.timeout(5):
        await stopping
        assert await trace.result() == "q!"


@pytest.mark.parametrize("ends_by", ["stop", "deadline"])
async def test_a_submission_does_not_outlast_its_trace_where_the_bus_is_full(world: World, ends_by: str) -> None:
    class Full(InProcBus):
        async def put(self, queue: str, message: Any) -> None:
            await asyncio.Event().wait()

    client = await world.run(line(), message_bus=Full())
    deadline_s = time.time() + 0.2 if ends_by == "deadline" else None
    submission = asyncio.ensure_future(client.submit(Message(payload="q", deadline_s=deadline_s)))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        if ends_by == "stop":
            await client.stop(drain=False)
        with pytest.raises(FlowError, match=r"stopped|deadline"):
            await (await submission).result()


async def test_a_store_that_failed_once_leaves_no_run_behind(world: World) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def waits(text: str, ctx: Context) -> str:
        started.set()
        await release.wait()
        return text

    class Away(InMemoryStateStore):
        async def load_steps(self, trace_id: str) -> Any:
            type(self).load_steps = InMemoryStateStore.load_steps  # type: ignore[method-assign]
            raise OSError("away")

    world.store = Away()
    first = await world.run(create(Node(waits)), "waits")
    client = await world.run(create(Node(waits)))
    trace = await client.submit("q")
    await started.wait()
    await first.stop(drain=False)
    release.set()
    second = await world.run(create(Node(waits)), "waits")
    async with asyncio.timeout(5):
        assert await trace.result() == "q"
        await second.stop(drain=True)


async def test_active_traces_names_each_trace_once(world: World) -> None:
    started = asyncio.Event()

    async def hangs(text: str, ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    worker = await world.run(create(Node(hangs)), "hangs")
    client = await world.run(create(Node(hangs)))
    trace = await client.submit(Message(payload="q", trace_id="t"))
    await started.wait()
    assert worker.active_traces == ["t"] == client.active_traces
    await trace.cancel()


class Forgetful(InMemoryStateStore):
    """A store whose first join part is written down though it says that it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = False
        self.released = asyncio.Event()

    async def add_join_part(self, *args: Any) -> Any:
        state = await super().add_join_part(*args)
        if self.failed:
            return state
        self.failed = True
        raise OSError("away")

    async def release(self, lease: Any, *, done: bool) -> None:
        await super().release(lease, done=done)
        if done and self.failed and lease.unit:
            self.released.set()


async def test_a_resumed_unit_tells_a_join_once_that_nothing_more_comes(world: World) -> None:
    told = 0

    class Counting(InProcBus):
        async def put(self, queue: str, message: Any) -> None:
            nonlocal told
            if message.get("source") == "OpenSea/flush":
                told += 1
                return
            await super().put(queue, message)

    def flow() -> PenguiFlow:
        join = join_k("join", 2, on_incomplete="emit")
        return create(Node(start).to(join), join.to(Node(end)))

    store = world.store = Forgetful()
    world.bus = Counting(lease_s=0.5)
    await world.run(flow(), "join", "end")
    client = await world.run(flow(), "start")
    trace = await client.submit("q")
    async with asyncio.timeout(5):
        await store.released.wait()
    assert told == 1
    await trace.cancel()


class Answer(BaseModel):
    text: str


async def test_a_payload_keeps_its_model_where_the_receiver_takes_any_message(world: World) -> None:
    async def makes(text: str, ctx: Context) -> Answer:
        return Answer(text=text)

    async def looks(message: Message, ctx: Context) -> str:
        return type(message.payload).__name__

    def flow() -> PenguiFlow:
        return create(Node(makes).to(Node(looks)))

    registry = ModelRegistry()
    registry.register("makes", str, Answer)
    registry.register("looks", Message, str)
    await world.run(flow(), "makes", registry=registry)
    await world.run(flow(), "looks", registry=registry)
    client = await world.run(flow(), registry=registry)
    async with asyncio.timeout(5):
        assert await client.ask(Message(payload="q")) == "Answer"


class Refusing(InProcBus):
    """A bus that raises for what goes to one node."""

    def __init__(self, target: str, error: Exception) -> None:
        super().__init__(lease_s=0.5)
        self.target, self.error = target, error

    async def put(self, queue: str, message: Any) -> None:
        if queue.endswith(f"→{self.target}"):
            raise self.error
        await super().put(queue, message)


@pytest.mark.parametrize("error", [ValueError("too large"), TypeError("too large")])
@pytest.mark.parametrize(("target", "node"), [("start", "start"), ("end", "start")])
async def test_what_the_bus_never_takes_ends_the_trace(world: World, target: str, node: str, error: Exception) -> None:
    world.bus = Refusing(target, error)
    await world.run(line(), "start")
    client = await world.run(line())
    trace = await client.submit("q")
    async with asyncio.timeout(5):
        with pytest.raises(FlowError, match=f"too large.*node {node!r}") as failure:
            await trace.result()
    assert failure.value.code == FlowErrorCode.MESSAGE_REFUSED
    assert f"→{target}'" in failure.value.message


async def test_a_node_whose_message_is_refused_does_not_run_again(world: World) -> None:
    ran = 0

    async def start(text: str, ctx: Context) -> str:
        nonlocal ran
        ran += 1
        return text

    world.bus = Refusing("end", ValueError("too large"))
    flow = create(Node(start, policy=NodePolicy(max_retries=3)).to(Node(end)))
    async with asyncio.timeout(5):
        with pytest.raises(FlowError, match="'flow:start→end'") as failure:
            await (await world.run(flow, "start")).ask("q")
    assert (failure.value.code, failure.value.node_name, ran) == (FlowErrorCode.MESSAGE_REFUSED, "start", 1)


@pytest.mark.parametrize("target", ["start", "end"])
async def test_a_trace_can_go_on_elsewhere_where_the_bus_was_closed_here(world: World, target: str) -> None:
    closed = Refusing(target, RuntimeError("closed"))
    here = await world.run(line(), *({"start"} - {target}), message_bus=closed, resume=False)
    trace = await here.submit(Message(payload="q", trace_id="t"))
    async with asyncio.timeout(5):
        with pytest.raises(FlowStopped, match="is closed"):
            await trace.result()
        await here.stop()
        other = await world.run(line(), "start", "end", resume=False)
        assert (await (await other.resume("t")).result()).payload == "q!"


async def test_a_chunk_that_cannot_cross_names_node_and_field(world: World) -> None:
    async def streams(text: str, ctx: Context) -> None:
        await ctx.emit_chunk(text="a", meta={"usage": [{"handle": object()}]})

    await world.run(create(Node(streams)), "streams")
    client = await world.run(create(Node(streams)))
    async with asyncio.timeout(5):
        with pytest.raises(FlowError, match=r"chunk\.meta\['usage'\]\[0\]\['handle'\].*node 'streams'") as failure:
            await client.ask("q")
    assert failure.value.code == FlowErrorCode.NOT_SERIALISABLE


async def test_what_a_resumed_trace_comes_to_is_told_to_who_resumed_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def streams(text: str, ctx: Context) -> str:
        await ctx.emit_chunk(text="a")
        return text

    def flow() -> PenguiFlow:
        return create(Node(start).to(Node(streams)))

    monkeypatch.setattr("penguiflow._runtime.journal.POLL_S", 60)
    bus = Refusing("streams", RuntimeError("closed"))
    await (await world.run(flow(), "start", message_bus=bus, resume=False)).submit(Message(payload="q", trace_id="t"))
    other = await world.run(flow(), "start", resume=False)
    async with asyncio.timeout(5):
        trace = await other.resume("t")
        await world.run(flow(), "streams", resume=False)
        assert [chunk.text async for chunk in trace.chunks()] == ["a"]
        assert (await trace.result()).payload == "q"
