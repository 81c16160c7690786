"""Any flow, any load: every trace ends, with exactly the values that its graph says, and nothing is left behind."""

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow import Context, FlowError, Headers, Message, Node, NodePolicy, PenguiFlow, TraceCancelled, create


@dataclass(frozen=True)
class Step:
    """What one node of a random flow does with each message."""

    emits: int
    awaits: bool
    ordered: bool
    max_concurrency: int
    flaky: bool
    targets: frozenset[int]


@dataclass(frozen=True)
class Plan:
    """A random acyclic flow: node `n` leads only to later nodes."""

    steps: tuple[Step, ...]
    queue_maxsize: int

    def build(self) -> PenguiFlow:
        nodes = [self._node(number, step) for number, step in enumerate(self.steps)]
        edges = [nodes[n].to(*(nodes[t] for t in sorted(step.targets))) for n, step in enumerate(self.steps)]
        return create(*edges, queue_maxsize=self.queue_maxsize)

    def _node(self, number: int, step: Step) -> Node:
        async def run(message: Message, ctx: Context) -> Message | None:
            if step.awaits:
                await asyncio.sleep(0)
            if step.flaky and ctx.attempt == 0:
                raise ValueError("first attempt")
            for _ in range(step.emits - 1):
                await ctx.emit(message)
            return message if step.emits else None

        policy = NodePolicy(
            ordered=step.ordered, max_concurrency=step.max_concurrency, max_retries=1, backoff_base=0.0001
        )
        return Node(run, f"n{number}", policy=policy)

    def expected(self) -> Counter[str]:
        """Count the values of one trace by exit."""
        fed = {target for step in self.steps for target in step.targets}
        arriving = Counter({n: 1 for n in range(len(self.steps)) if n not in fed})
        values: Counter[str] = Counter()
        for number, step in enumerate(self.steps):
            sent = arriving[number] * step.emits
            for target in step.targets:
                arriving[target] += sent
            if not step.targets and sent:
                values[f"n{number}"] += sent
        return values


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = draw(st.integers(1, 6))
    steps = []
    for number in range(count):
        later = range(number + 1, count)
        steps.append(
            Step(
                emits=draw(st.integers(0, 3)),
                awaits=draw(st.booleans()),
                ordered=draw(st.booleans()),
                max_concurrency=draw(st.integers(1, 3)),
                flaky=draw(st.integers(0, 5)) == 0,
                targets=draw(st.frozensets(st.sampled_from(later), max_size=3)) if later else frozenset(),
            )
        )
    return Plan(tuple(steps), draw(st.integers(1, 4)))


def leftovers(flow: PenguiFlow) -> list[object]:
    runtime = flow._runtime
    assert runtime is not None
    found: list[object] = [*runtime.active, *runtime.unwinding, *runtime.workers.urgent, *runtime.workers.runnable]
    for station in runtime.stations.values():
        found += [station.name] * (len(station.ready) + station.queued + station.active)
        found += [*station.blocked, *station.gate.blocked]
    return found + ["timer"] * len(runtime.timers)


async def settled(flow: PenguiFlow) -> None:
    """Wait until workers have closed what the last awaiter was told of."""
    for _ in range(1000):
        if not leftovers(flow):
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"left behind: {leftovers(flow)}")


@given(plan=plans(), traces=st.integers(1, 12), priorities=st.lists(st.integers(-2, 2), min_size=1, max_size=3))
@pytest.mark.timeout(120)
def test_every_trace_gives_what_its_graph_says(plan: Plan, traces: int, priorities: list[int]) -> None:
    async def one(flow: PenguiFlow, number: int) -> Counter[str]:
        headers = Headers(priority=priorities[number % len(priorities)])
        trace = await flow.submit(Message(payload=number, headers=headers))
        results = await trace.results()
        assert {value.payload for _, value in results} <= {number}
        return Counter(name for name, _ in results)

    async def main() -> None:
        async with asyncio.timeout(20), plan.build() as flow:
            counts = await asyncio.gather(*(one(flow, n) for n in range(traces)))
            assert counts == [plan.expected()] * traces
            await settled(flow)

    asyncio.run(main())


@given(plan=plans(), cancels=st.lists(st.integers(0, 30), min_size=1, max_size=10))
@pytest.mark.timeout(120)
def test_cancelling_at_any_moment_leaves_nothing_behind(plan: Plan, cancels: list[int]) -> None:
    async def one(flow: PenguiFlow, turns: int) -> None:
        trace = await flow.submit(Message(payload=0))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = await trace.cancel()
        try:
            results = await trace.results()
        except TraceCancelled:
            assert cancelled
        else:
            assert not cancelled
            assert Counter(name for name, _ in results) == plan.expected()

    async def main() -> None:
        async with asyncio.timeout(20), plan.build() as flow:
            await asyncio.gather(*(one(flow, turns) for turns in cancels))
            await settled(flow)

    asyncio.run(main())


@given(plan=plans(), traces=st.integers(1, 8), turns=st.integers(0, 40), drain=st.booleans())
@pytest.mark.timeout(120)
def test_a_stop_at_any_moment_leaves_no_one_waiting(plan: Plan, traces: int, turns: int, drain: bool) -> None:
    async def ask(flow: PenguiFlow, number: int) -> object:
        try:
            trace = await flow.submit(Message(payload=number))
            return Counter(name for name, _ in await trace.results())
        except FlowError as error:
            return error.code

    async def main() -> None:
        flow = plan.build()
        await flow.run()
        async with asyncio.timeout(20):
            asking = [asyncio.create_task(ask(flow, n)) for n in range(traces)]
            for _ in range(turns):
                await asyncio.sleep(0)
            await flow.stop(drain=drain)
            outcomes = await asyncio.gather(*asking)
        for outcome in outcomes:
            assert outcome in (plan.expected(), "FLOW_STOPPED", "NOT_RUNNING")

    asyncio.run(main())
