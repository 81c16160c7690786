"""Flows whose nodes run in several processes, which here are several flows on one store and one bus."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from penguiflow import (
    WM,
    Adjacency,
    Context,
    FlowDefinitionError,
    FlowError,
    FlowErrorCode,
    Headers,
    InMemoryStateStore,
    InProcBus,
    JoinIncomplete,
    Message,
    Node,
    NodePolicy,
    PenguiFlow,
    TraceCancelled,
    create,
    join_k,
)


async def start(text: str, ctx: Context) -> str:
    return text


async def left(text: str, ctx: Context) -> str:
    return f"{text} left"


async def right(text: str, ctx: Context) -> str:
    return f"{text} right"


async def end(texts: list[str], ctx: Context) -> str:
    return " & ".join(sorted(texts))


def fan_out(*, k: int = 2, on_incomplete: Any = "error", **options: Any) -> PenguiFlow:
    first, one, two, last = Node(start), Node(left), Node(right), Node(end)
    join = join_k("join", k, on_incomplete=on_incomplete)
    return create(first.to(one, two), one.to(join), two.to(join), join.to(last), **options)


def maker(*parts: Adjacency | Node) -> Callable[[], PenguiFlow]:
    """Return what makes the flow for one more process."""
    return lambda: create(*parts)


class World:
    """A store and a bus, and the flows that run on them."""

    def __init__(self) -> None:
        self.store = InMemoryStateStore()
        self.bus = InProcBus(lease_s=0.5)
        self.stack = contextlib.AsyncExitStack()

    async def run(self, flow: PenguiFlow, *nodes: str, **options: Any) -> PenguiFlow:
        given: dict[str, Any] = {"state_store": self.store, "message_bus": self.bus, "lease_s": 0.5, **options}
        return await self.stack.enter_async_context(flow.run(nodes=set(nodes), **given))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    async with world.stack:
        yield world


async def test_nodes_may_run_anywhere(world: World) -> None:
    await world.run(fan_out(), "start", "left", "join")
    await world.run(fan_out(), "right", "end")
    client = await world.run(fan_out())

    assert await client.ask("q") == "q left & q right"


async def test_two_processes_may_run_the_same_nodes(world: World) -> None:
    for _ in range(2):
        await world.run(fan_out(), "start", "left", "right", "join", "end")
    client = await world.run(fan_out())

    answers = await asyncio.gather(*(client.ask(str(number)) for number in range(100)))

    assert answers == [f"{number} left & {number} right" for number in range(100)]


async def test_headers_meta_and_ids_go_along(world: World) -> None:
    seen: dict[str, Any] = {}

    async def look(text: str, ctx: Context) -> str:
        seen.update(tenant=ctx.headers.tenant, meta=ctx.meta, trace_id=ctx.trace_id, deadline_s=ctx.deadline_s)
        return text

    flow = maker(Node(start).to(Node(look)))
    await world.run(flow(), "look")
    client = await world.run(flow(), "start")
    deadline_s = time.time() + 60
    message = Message(
        payload="q", headers=Headers(tenant="acme"), meta={"user": 7}, trace_id="t", deadline_s=deadline_s
    )

    answer = await client.ask(message)

    assert seen == {"tenant": "acme", "meta": {"user": 7}, "trace_id": "t", "deadline_s": deadline_s}
    assert (answer.payload, answer.headers.tenant, answer.meta) == ("q", "acme", {"user": 7})


async def test_the_idempotency_key_is_the_same_in_every_process(world: World) -> None:
    keys: list[str] = []

    async def note(text: str, ctx: Context) -> None:
        keys.append(ctx.idempotency_key)

    flow = maker(Node(start).to(Node(note)))
    async with flow() as alone:
        await alone.ask(Message(payload="q", trace_id="t"))
    await world.run(flow(), "note")
    client = await world.run(flow(), "start")
    await client.ask(Message(payload="q", trace_id="t"))

    assert keys[0] == keys[1]


async def test_chunks_come_back_marked_with_their_attempt(world: World) -> None:
    async def streams(text: str, ctx: Context) -> str:
        for word in ("a", "b", "c"):
            await ctx.emit_chunk(text=word, done=word == "c")
        return text

    flow = maker(Node(streams))
    await world.run(flow(), "streams")
    client = await world.run(flow())
    trace = await client.submit("q")

    chunks = [chunk async for chunk in trace.chunks()]

    assert [(chunk.text, chunk.seq, chunk.meta["attempt"]) for chunk in chunks] == [
        ("a", 0, 0),
        ("b", 1, 0),
        ("c", 2, 0),
    ]
    assert await trace.result() == "q"


async def test_a_failure_elsewhere_comes_back(world: World) -> None:
    async def fails(text: str, ctx: Context) -> None:
        raise ValueError("no good")

    flow = maker(Node(fails))
    await world.run(flow(), "fails")
    client = await world.run(flow())

    with pytest.raises(FlowError, match="no good") as failure:
        await client.ask("q")

    assert (failure.value.code, failure.value.node_name) == (FlowErrorCode.NODE_EXCEPTION, "fails")


async def hanging(stopped: asyncio.Event, started: asyncio.Event) -> Callable[[], PenguiFlow]:
    async def hang(text: str, ctx: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    return lambda: create(Node(hang))


async def test_a_cancel_reaches_a_node_elsewhere(world: World) -> None:
    stopped, started = asyncio.Event(), asyncio.Event()
    flow = await hanging(stopped, started)
    await world.run(flow(), "hang")
    client = await world.run(flow())
    trace = await client.submit("q")
    await started.wait()

    trace.cancel()

    async with asyncio.timeout(5):
        await stopped.wait()
        with pytest.raises(TraceCancelled):
            await trace.result()


async def test_a_deadline_ends_a_trace_whose_node_hangs_elsewhere(world: World) -> None:
    stopped, started = asyncio.Event(), asyncio.Event()
    flow = await hanging(stopped, started)
    await world.run(flow(), "hang")
    client = await world.run(flow())

    with pytest.raises(FlowError, match="deadline") as failure:
        await client.ask(Message(payload="q", deadline_s=time.time() + 0.3))

    assert failure.value.code == FlowErrorCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(5):
        await stopped.wait()


async def test_a_deadline_ends_a_trace_that_nobody_takes(world: World) -> None:
    client = await world.run(fan_out())

    with pytest.raises(FlowError, match="deadline"):
        await client.ask(Message(payload="q", deadline_s=time.time() + 0.2))


async def test_a_join_across_processes_that_cannot_fill_is_told_of(world: World) -> None:
    await world.run(fan_out(k=3), "start", "left")
    await world.run(fan_out(k=3), "right", "join", "end")
    client = await world.run(fan_out(k=3))

    with pytest.raises(JoinIncomplete, match="2 of 3"):
        await client.ask("q")


async def test_a_join_across_processes_goes_on_with_what_there_is(world: World) -> None:
    await world.run(fan_out(k=3, on_incomplete="emit"), "start", "left")
    await world.run(fan_out(k=3, on_incomplete="emit"), "right", "join", "end")
    client = await world.run(fan_out(k=3, on_incomplete="emit"))

    assert await client.ask("q") == "q left & q right"


async def test_a_loop_over_processes_spends_its_budget_once(world: World) -> None:
    async def think(memory: WM, ctx: Context) -> WM:
        return memory.model_copy(update={"facts": [*memory.facts, "thought"]})

    async def check(memory: WM, ctx: Context) -> WM:
        return memory

    def flow() -> PenguiFlow:
        one, two = Node(think), Node(check)
        return create(one.to(two), two.to(one), allow_cycles=True)

    await world.run(flow(), "think")
    await world.run(flow(), "check")
    client = await world.run(flow())

    answer = await client.ask(WM(query="q", budget_hops=3))

    assert answer.text == "Hop budget exhausted after 3 hops"


async def test_the_messages_of_an_edge_keep_their_order(world: World) -> None:
    seen: list[int] = []

    async def count(text: str, ctx: Context) -> None:
        for number in range(30):
            await ctx.emit(number)

    async def note(number: int, ctx: Context) -> None:
        await asyncio.sleep(0.001 * (number % 3))
        seen.append(number)

    flow = maker(Node(count).to(Node(note)))
    await world.run(flow(), "count")
    await world.run(flow(), "note")
    client = await world.run(flow())
    await client.ask("q")

    assert seen == list(range(30))


async def test_two_versions_run_side_by_side(world: World) -> None:
    def flow(version: str) -> PenguiFlow:
        async def tell(text: str, ctx: Context) -> str:
            return f"{text} by {version}"

        return create(Node(tell), version=version)

    clients = []
    for version in ("1", "2"):
        await world.run(flow(version), "tell")
        clients.append(await world.run(flow(version)))

    answers = await asyncio.gather(*(client.ask("q") for client in clients for _ in range(5)))

    assert Counter(answers) == {"q by 1": 5, "q by 2": 5}


async def test_a_message_of_another_shape_is_left_for_others(world: World) -> None:
    one = create(Node(start).to(Node(left)))
    other = create(Node(start).to(Node(left), Node(right)))
    await world.run(other, "start", "left", "right")
    client = await world.run(one)
    trace = await client.submit("q")
    await asyncio.sleep(0.1)
    assert not trace.done

    await world.run(create(Node(start).to(Node(left))), "start", "left")

    async with asyncio.timeout(10):
        assert await trace.result() == "q left"


async def test_a_poison_message_does_not_hold_up_others(world: World) -> None:
    await world.run(fan_out(), "start", "left", "right", "join", "end")
    client = await world.run(fan_out())
    await world.bus.put("flow:OpenSea→start", {"not": "an envelope"})

    assert await client.ask("q") == "q left & q right"


async def test_a_message_that_comes_twice_is_handled_once(world: World) -> None:
    ran: Counter[str] = Counter()

    async def note(text: str, ctx: Context) -> str:
        ran[ctx.idempotency_key] += 1
        return text

    class Twice(InProcBus):
        async def put(self, queue: str, message: Any) -> None:
            await super().put(queue, message)
            if "reply" not in queue:
                await super().put(queue, message)

    world.bus = Twice(lease_s=0.5)
    flow = maker(Node(start).to(Node(note)))
    await world.run(flow(), "start")
    await world.run(flow(), "note")
    client = await world.run(flow())

    answers = await asyncio.gather(*(client.ask(str(number)) for number in range(50)))

    assert answers == [str(number) for number in range(50)]
    assert set(ran.values()) == {1}


@pytest.mark.parametrize("missing", ["message_bus", "state_store"])
async def test_a_flow_that_crosses_processes_needs_both(missing: str) -> None:
    given: dict[str, Any] = {"message_bus": InProcBus(), "state_store": InMemoryStateStore()}
    del given[missing]

    with pytest.raises(FlowDefinitionError, match=f"there is no {missing}"):
        fan_out().run(nodes={"start"}, **given)


async def test_a_flow_that_crosses_processes_needs_a_journal() -> None:
    class Plain:
        async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None: ...
        async def load_history(self, trace_id: str) -> list[Any]:
            return []

        async def save_remote_binding(self, trace_id: str, context_id: str, task_id: str, agent_url: str) -> None: ...

    with pytest.raises(FlowDefinitionError, match="JournalStore"):
        fan_out().run(nodes={"start"}, state_store=Plain(), message_bus=InProcBus())


async def test_a_worker_that_drains_finishes_what_it_has(world: World) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def waits(text: str, ctx: Context) -> str:
        started.set()
        await release.wait()
        return text

    flow = maker(Node(waits))
    worker = await world.run(flow(), "waits")
    client = await world.run(flow())
    trace = await client.submit("q")
    await started.wait()
    stopping = asyncio.ensure_future(worker.stop(drain=True))
    await asyncio.sleep(0)
    release.set()

    await stopping
    assert await trace.result() == "q"


async def test_what_a_worker_drops_another_does(world: World) -> None:
    started = asyncio.Event()
    release = asyncio.Event()

    async def waits(text: str, ctx: Context) -> str:
        started.set()
        await release.wait()
        return text

    flow = maker(Node(waits))
    worker = await world.run(flow(), "waits")
    client = await world.run(flow())
    trace = await client.submit("q")
    await started.wait()
    await worker.stop(drain=False)
    release.set()
    await world.run(flow(), "waits")

    async with asyncio.timeout(5):
        assert await trace.result() == "q"


async def test_a_node_that_takes_longer_than_the_lease_keeps_its_message(world: World) -> None:
    runs = 0

    async def slow(text: str, ctx: Context) -> str:
        nonlocal runs
        runs += 1
        await asyncio.sleep(1.5)
        return text

    flow = maker(Node(slow, policy=NodePolicy(on_interrupted="fail")))
    await world.run(flow(), "slow")
    await world.run(flow(), "slow")
    client = await world.run(flow())

    assert await client.ask("q") == "q"
    assert runs == 1


async def across_a_death(process: Any, dies_at: int, done: bool) -> bool:
    store, bus = InMemoryStateStore(), InProcBus(lease_s=0.2)
    dying = process(store, bus, dies_at=dies_at)
    dying.done = done
    sound: dict[str, Any] = {"state_store": store, "message_bus": bus, "lease_s": 0.2}
    client, other, worker = fan_out(), fan_out(), fan_out()
    client.run(nodes=set(), **sound)
    other.run(nodes={"right", "end"}, **sound)
    worker.run(nodes={"start", "left", "join"}, state_store=dying.store, message_bus=dying.bus, lease_s=0.2)
    trace = await client.submit(Message(payload="q", trace_id="t"))
    ended = asyncio.ensure_future(trace.result())
    await asyncio.wait([ended, asyncio.ensure_future(dying.dead.wait())], return_when=asyncio.FIRST_COMPLETED)
    fan_out_again = fan_out()
    fan_out_again.run(nodes={"start", "left", "join"}, **sound)
    async with asyncio.timeout(10):
        assert (await ended).payload == "q left & q right"
    steps = [step.message_id for step in await store.load_steps("t")]
    assert len(steps) == len(set(steps)) == 5
    return bool(dying.dead.is_set())


@pytest.mark.timeout(200)
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_trace_survives_a_death_at_every_call_of_a_worker(process: Any, scale: Any, done: bool) -> None:
    # One call in five by default: each death costs the lease.
    died = [asyncio.run(across_a_death(process, dies_at, done)) for dies_at in range(1, 60, scale(5, 1))]

    assert any(died)
