"""The same work on the flow runtime, fed in the same way as the floors."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.flow._work import BRANCHES, STAGES, Item, add_one
from penguiflow import FlowEvent, Message, Node, NodePolicy, PenguiFlow, Trace, create, join_k

IN_FLIGHT = 64


def three_nodes(func: Any, *, policy: NodePolicy | None = None, **options: Any) -> PenguiFlow:
    """Build a flow of three nodes in a row that all run `func`."""
    first, second, third = (Node(func, name=name, policy=policy) for name in STAGES)
    return create(first.to(second), second.to(third), **options)


def fan_out(**options: Any) -> PenguiFlow:
    """Build a flow of one node, eight behind it, and a join of their eight parts."""
    source, join = Node(add_one, name="source"), join_k("join", BRANCHES)
    branches = [Node(add_one, name=f"branch{number}") for number in range(BRANCHES)]
    return create(source.to(*branches), *(branch.to(join) for branch in branches), **options)


async def one_at_a_time(flow: PenguiFlow, values: Iterable[Any]) -> list[Any]:
    """Submit each value once the one before it has its result."""
    return [await (await flow.submit(value)).result() for value in values]


async def window(flow: PenguiFlow, values: Iterable[Any], size: int) -> list[Any]:
    """Keep `size` traces outstanding: await the oldest before the next is submitted."""
    results = []
    outstanding: deque[Any] = deque()
    for value in values:
        if len(outstanding) >= size:
            results.append(await outstanding.popleft().result())
        outstanding.append(await flow.submit(value))
    while outstanding:
        results.append(await outstanding.popleft().result())
    return results


async def fetch_window(flow: PenguiFlow, values: Iterable[Any], size: int) -> list[Any]:
    """Keep `size` values outstanding by `emit` and `fetch`, whoever they belong to."""
    results = []
    outstanding = 0
    for value in values:
        if outstanding >= size:
            results.append(await flow.fetch())
            outstanding -= 1
        await flow.emit(value)
        outstanding += 1
    return results + [await flow.fetch() for _ in range(outstanding)]


async def asking(target: Any, values: Iterable[Any], callers: int) -> list[Any]:
    """Run tasks that each ask, wait for their own answer, and ask again; for flows and floors."""
    waiting = iter(values)
    results = []

    async def caller() -> None:
        results.extend([await target.ask(value) for value in waiting])

    await asyncio.gather(*(caller() for _ in range(callers)))
    return results


async def feed(flow: PenguiFlow, values: Iterable[Any], take: Callable[[Any], None]) -> None:
    """Submit values as fast as they are let in, while a second task awaits their results."""
    traces: asyncio.Queue[Trace | None] = asyncio.Queue(IN_FLIGHT)

    async def collect() -> None:
        while (trace := await traces.get()) is not None:
            take(await trace.result())

    collector = asyncio.ensure_future(collect())
    for value in values:
        await traces.put(await flow.submit(value))
    await traces.put(None)
    await collector


class Counter:
    """A middleware that counts what it is told."""

    def __init__(self) -> None:
        self.events = 0

    async def __call__(self, event: FlowEvent) -> None:
        """Count the event."""
        self.events += 1


def number_of(value: Any) -> int:
    """Return the number in a result, whatever it travelled in."""
    if isinstance(value, Item):
        return value.number
    if isinstance(value, Message):
        return int(value.payload)
    if isinstance(value, list):
        return int(value[0]) if len(value) == BRANCHES else -1
    return int(value)
