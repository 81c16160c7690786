"""Flows with a journal in one process: what is recorded, what leaves when, and how a trace goes on after a death."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from penguiflow import (
    WM,
    Context,
    FlowError,
    FlowErrorCode,
    GraphChanged,
    InMemoryStateStore,
    JoinIncomplete,
    Message,
    ModelRegistry,
    Node,
    NodePolicy,
    NotSerialisable,
    PenguiFlow,
    TraceActive,
    TraceCancelled,
    TraceUnknown,
    create,
    join_k,
)


class Question(BaseModel):
    text: str


class Answer(BaseModel):
    text: str
    score: float = 0.5


async def ask(question: Question, ctx: Context) -> Question:
    return question


async def left(question: Question, ctx: Context) -> Answer:
    return Answer(text=f"{question.text} left")


async def right(question: Question, ctx: Context) -> Answer:
    return Answer(text=f"{question.text} right")


async def pick(answers: list[Answer], ctx: Context) -> str:
    return " & ".join(sorted(answer.text for answer in answers))


def fan_out(*, joined: int = 2, **options: Any) -> PenguiFlow:
    first, one, two, last = Node(ask), Node(left), Node(right), Node(pick)
    join = join_k("join", joined)
    return create(first.to(one, two), one.to(join), two.to(join), join.to(last), **options)


async def test_what_a_trace_came_to_is_kept() -> None:
    store = InMemoryStateStore()
    async with fan_out().run(state_store=store) as flow:
        answer = await flow.ask(Message(payload=Question(text="q"), trace_id="t"))
        assert answer.payload == "q left & q right"

    record = await store.load_trace("t")
    assert record is not None
    assert (record.outcome.state, record.pending) == ("completed", 0)
    assert [step.node_name for step in await store.load_steps("t")] == ["ask", "left", "right", "join", "pick"]


async def test_what_a_node_emits_leaves_when_it_returns() -> None:
    seen: list[str] = []

    async def sends(text: str, ctx: Context) -> None:
        await ctx.emit("one")
        ctx.emit_nowait("two")
        await asyncio.sleep(0)
        seen.append("returned")

    async def takes(text: str, ctx: Context) -> None:
        seen.append(text)

    first, second = Node(sends), Node(takes)
    async with create(first.to(second)).run(state_store=InMemoryStateStore()) as flow:
        await flow.ask("go")

    assert seen == ["returned", "one", "two"]


async def test_an_attempt_that_fails_has_sent_nothing() -> None:
    got: list[int] = []

    async def sends(text: str, ctx: Context) -> None:
        await ctx.emit(ctx.attempt)
        if not ctx.attempt:
            raise ConnectionError

    async def takes(number: int, ctx: Context) -> None:
        got.append(number)

    first = Node(sends, policy=NodePolicy(max_retries=1, backoff_base=0))
    async with create(first.to(Node(takes))).run(state_store=InMemoryStateStore()) as flow:
        await flow.ask("go")

    assert got == [1]


async def test_a_payload_that_cannot_be_written_names_node_and_field() -> None:
    async def makes(text: str, ctx: Context) -> dict[str, Any]:
        return {"rows": [1, {"handle": object()}]}

    async with create(Node(makes)).run(state_store=InMemoryStateStore()) as flow:
        with pytest.raises(NotSerialisable, match="node 'makes'") as failure:
            await flow.ask("go")

    assert failure.value.field == "payload['rows'][1]['handle']"


async def test_a_message_that_cannot_be_written_is_not_submitted() -> None:
    store = InMemoryStateStore()
    async with create(Node(left)).run(state_store=store) as flow:
        with pytest.raises(NotSerialisable, match="meta"):
            await flow.submit(Message(payload="x", meta={"socket": object()}, trace_id="t"))
        assert flow.active_traces == []

    assert await store.load_trace("t") is None


class Telling(InMemoryStateStore):
    """A store that tells when it has recorded a step."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded = asyncio.Event()

    async def record_step(self, *args: Any) -> Any:
        state = await super().record_step(*args)
        self.recorded.set()
        return state


async def test_a_failed_trace_is_kept_with_its_error_and_what_it_gave_before() -> None:
    store = Telling()

    async def gives(text: str, ctx: Context) -> str:
        return "early"

    async def fails(text: str, ctx: Context) -> None:
        await store.recorded.wait()
        raise ValueError("no")

    async with create(Node(gives), Node(fails)).run(state_store=store) as flow:
        trace = await flow.submit(Message(payload="x", trace_id="t"))
        with pytest.raises(FlowError, match="no") as failure:
            await trace.result()

    record = await store.load_trace("t")
    assert record is not None
    assert record.outcome.error is not None
    assert (record.outcome.state, record.outcome.error["code"]) == ("failed", FlowErrorCode.NODE_EXCEPTION)
    assert [exit_name for exit_name, _ in failure.value.partial] == ["gives"]


async def test_a_cancelled_trace_stays_cancelled() -> None:
    store = InMemoryStateStore()
    async with create(Node(hangs)).run(state_store=store) as flow:
        trace = await flow.submit(Message(payload="x", trace_id="t"))
        flow.cancel("t")
        with pytest.raises(TraceCancelled):
            await trace.result()
        with pytest.raises(TraceCancelled):
            await (await flow.resume("t")).result()


async def hangs(text: Any, ctx: Context) -> None:
    await asyncio.Event().wait()


async def test_a_trace_that_is_cancelled_in_the_store_stops_here() -> None:
    store = InMemoryStateStore()
    async with create(Node(hangs)).run(state_store=store) as flow:
        trace = await flow.submit(Message(payload="x", trace_id="t"))
        async with create(Node(hangs)).run(state_store=store, resume=False) as other:
            assert await other.cancel("t") is True
            assert await other.cancel("t") is False
        async with asyncio.timeout(5):
            with pytest.raises(TraceCancelled):
                await trace.result()


async def test_an_unfilled_join_is_told_of_and_kept() -> None:
    store = InMemoryStateStore()
    async with fan_out(joined=3).run(state_store=store) as flow:
        with pytest.raises(JoinIncomplete, match="2 of 3"):
            await flow.ask(Message(payload=Question(text="q"), trace_id="t"))
        with pytest.raises(JoinIncomplete, match="2 of 3"):
            await (await flow.attach("t")).result()


async def test_an_unfilled_join_goes_on_with_what_there_is() -> None:
    first, one, last = Node(ask), Node(left), Node(pick)
    join = join_k("join", 2, on_incomplete="emit")
    async with create(first.to(one), one.to(join), join.to(last)).run(state_store=InMemoryStateStore()) as flow:
        assert await flow.ask(Question(text="q")) == "q left"


async def test_a_loop_ends_in_one_final_answer() -> None:
    async def think(memory: WM, ctx: Context) -> WM:
        return memory.model_copy(update={"facts": [*memory.facts, "fact"]})

    node = Node(think)
    async with create(node.to(node), allow_cycles=True).run(state_store=InMemoryStateStore()) as flow:
        answer = await flow.ask(WM(query="q", budget_hops=3))

    assert answer.text == "Hop budget exhausted after 3 hops"


async def test_a_trace_may_be_attached_to_by_its_id() -> None:
    store = InMemoryStateStore()
    async with fan_out().run(state_store=store) as flow:
        trace = await flow.submit(Message(payload=Question(text="q"), trace_id="t"))
        async with fan_out().run(state_store=store, resume=False) as other:
            attached = await other.attach("t")
            assert (await attached.result()).payload == "q left & q right"
        assert (await trace.result()).payload == "q left & q right"
        with pytest.raises(TraceUnknown):
            await flow.attach("never")


async def test_an_id_may_be_used_again_once_its_trace_has_ended() -> None:
    store = InMemoryStateStore()
    async with create(Node(left)).run(state_store=store) as flow:
        for text in ("one", "two"):
            answer = await flow.ask(Message(payload=Question(text=text), trace_id="t"))
            assert answer.payload.text == f"{text} left"


async def test_a_trace_that_runs_elsewhere_is_active() -> None:
    store = InMemoryStateStore()
    async with create(Node(hangs)).run(state_store=store) as flow, create(Node(hangs)).run(state_store=store) as other:
        await flow.submit(Message(payload="x", trace_id="t"))
        with pytest.raises(TraceActive):
            await other.submit(Message(payload="x", trace_id="t"))
        await flow.cancel("t")


async def test_what_a_stop_cut_off_goes_on_at_the_next_start() -> None:
    store = InMemoryStateStore()
    started = asyncio.Event()
    release = asyncio.Event()

    async def waits(text: str, ctx: Context) -> str:
        started.set()
        await release.wait()
        return text + "!"

    flow = create(Node(waits))
    flow.run(state_store=store)
    trace = await flow.submit(Message(payload="x", trace_id="t"))
    await started.wait()
    await flow.stop(drain=False)
    with pytest.raises(FlowError, match="stopped before"):
        await trace.result()
    release.set()
    async with flow.run(state_store=store):
        assert (await (await flow.attach("t")).result()).payload == "x!"


class Ledger:
    """Counts what nodes do to the world, by the key that they hand to it."""

    def __init__(self) -> None:
        self.effects: Counter[tuple[str, str]] = Counter()

    def counted(self, node: Callable[..., Any]) -> Node:
        @functools.wraps(node)
        async def act(message: Any, ctx: Context) -> Any:
            self.effects[node.__name__, ctx.idempotency_key] += 1
            return await node(message, ctx)

        return Node(act, name=node.__name__)

    def flow(self) -> PenguiFlow:
        first, one, two, last = (self.counted(ask), self.counted(left), self.counted(right), self.counted(pick))
        join = join_k("join", 2)
        return create(first.to(one, two), one.to(join), two.to(join), join.to(last))


def registered() -> ModelRegistry:
    registry = ModelRegistry()
    for name, takes, gives in (
        ("ask", Question, Question),
        ("left", Question, Answer),
        ("right", Question, Answer),
        ("join", Any, Any),
        ("pick", list[Answer], str),
    ):
        registry.register(name, takes, gives)
    return registry


async def dies(flow: PenguiFlow, store: Any, dead: asyncio.Event) -> None:
    """Run a trace in a process that dies on the way, if it does."""
    flow.run(registered(), state_store=store, resume=False)
    trace = asyncio.ensure_future(flow.ask(Message(payload=Question(text="q"), trace_id="t")))
    await asyncio.wait([trace, asyncio.ensure_future(dead.wait())], return_when=asyncio.FIRST_COMPLETED)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_trace_survives_a_death_at_every_call_of_the_store(process: Any, done: bool) -> None:
    for dies_at in range(1, 60):
        store, ledger = InMemoryStateStore(), Ledger()
        dying = process(store, dies_at=dies_at)
        dying.done = done
        asyncio.run(dies(ledger.flow(), dying.store, dying.dead))
        if not dying.dead.is_set():
            assert dies_at > 8
            return
        asyncio.run(goes_on(store, ledger))
    pytest.fail("the trace makes more calls than were tried")


async def goes_on(store: InMemoryStateStore, ledger: Ledger) -> None:
    async with ledger.flow().run(registered(), state_store=store, resume=False) as flow:
        if await store.load_trace("t") is None:
            return
        async with asyncio.timeout(5):
            trace = await flow.resume("t", force=True)
            assert (await trace.result()).payload == "q left & q right"
    steps = [step.message_id for step in await store.load_steps("t")]
    assert len(steps) == len(set(steps)) == 5
    keys = {key for _, key in ledger.effects}
    assert len(keys) == 4
    assert max(ledger.effects.values()) <= 2


async def test_a_zombie_writes_nothing_more(process: Any) -> None:
    store, ledger = InMemoryStateStore(), Ledger()
    stopped = process(store, dies_at=3)
    flow = ledger.flow()
    flow.run(registered(), state_store=stopped.store, resume=False)
    asked = asyncio.ensure_future(flow.ask(Message(payload=Question(text="q"), trace_id="t")))
    await stopped.dead.wait()
    await goes_on(store, ledger)
    before = await store.load_steps("t")

    stopped.dead.clear()
    stopped.woken.set()
    async with asyncio.timeout(10):
        assert (await asked).payload == "q left & q right"
        await flow.stop()
    assert await store.load_steps("t") == before


async def test_a_node_that_must_not_run_twice_fails_the_trace(process: Any) -> None:
    store = InMemoryStateStore()
    dying = process(store)
    runs = 0

    async def pays(text: str, ctx: Context) -> str:
        nonlocal runs
        runs += 1
        dying.dead.set()
        await asyncio.Event().wait()
        return text

    def flow() -> PenguiFlow:
        return create(Node(pays, policy=NodePolicy(on_interrupted="fail")))

    first = flow()
    first.run(state_store=dying.store, resume=False)
    await first.submit(Message(payload="x", trace_id="t"))
    await dying.dead.wait()
    async with flow().run(state_store=store, resume=False) as second:
        trace = await second.resume("t", force=True)
        with pytest.raises(FlowError, match="was running when its process died") as failure:
            await trace.result()

    assert (failure.value.code, runs) == (FlowErrorCode.INTERRUPTED, 1)


async def test_a_changed_graph_is_refused_by_name(process: Any) -> None:
    store = InMemoryStateStore()
    dying = process(store, dies_at=3)
    first = fan_out()
    first.run(state_store=dying.store, resume=False)
    asked = asyncio.ensure_future(first.ask(Message(payload=Question(text="q"), trace_id="t")))
    await dying.dead.wait()
    async with create(Node(ask).to(Node(left))).run(state_store=store, resume=False) as changed:
        with pytest.raises(GraphChanged, match="node 'right' is missing") as failure:
            await changed.resume("t", force=True)

    assert "node 'ask' led to ['left', 'right'] and leads to ['left']" in failure.value.differences
    asked.cancel()


async def test_a_trace_of_another_flow_is_refused() -> None:
    store = InMemoryStateStore()
    async with fan_out(name="one").run(state_store=store, resume=False) as one:
        await one.submit(Message(payload=Question(text="q"), trace_id="t"))
        async with fan_out(name="two").run(state_store=store, resume=False) as two:
            with pytest.raises(FlowError, match="belongs to flow 'one'"):
                await two.resume("t")


async def test_a_store_that_cannot_write_fails_the_trace_and_leaves_it_to_be_resumed() -> None:
    class Full(InMemoryStateStore):
        full = True

        async def record_step(self, *args: Any, **options: Any) -> Any:
            if self.full:
                raise OSError("no space left")
            return await super().record_step(*args, **options)

    store = Full()
    async with fan_out().run(state_store=store, resume=False) as flow:
        with pytest.raises(FlowError, match="no space left") as failure:
            await flow.ask(Message(payload=Question(text="q"), trace_id="t"))
        assert failure.value.code == FlowErrorCode.STORE_FAILED
        store.full = False
        assert (await (await flow.resume("t")).result()).payload == "q left & q right"


async def test_resume_needs_a_journal() -> None:
    async with fan_out() as flow:
        with pytest.raises(FlowError, match="state store with a journal"):
            await flow.resume("t")
