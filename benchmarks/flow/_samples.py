"""Builds the samples that cases are made of: start, warm up, measure, stop, and check what came out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from benchmarks.flow import _floor, _flows
from benchmarks.flow._flows import IN_FLIGHT, Counter
from benchmarks.flow._rounds import Clock, Stopwatch
from benchmarks.flow._work import STAGES
from penguiflow import ModelRegistry, PenguiFlow

WARM_UP = 200

Sample = Callable[[int], Coroutine[Any, Any, float]]
Make = Callable[[int], Any]
QueueDrive = Callable[[Any, Iterable[Any]], Awaitable[list[Any]]]
FlowDrive = Callable[[PenguiFlow, Iterable[Any]], Awaitable[list[Any]]]


def on_queues(
    build: Callable[[], _floor.Pipeline],
    drive: QueueDrive,
    *,
    make: Make = int,
    steps: int = len(STAGES),
    clock: Clock = time.process_time,
) -> Sample:
    """Measure a floor, from the first message to the end of its tasks."""

    async def sample(count: int) -> float:
        stopwatch = Stopwatch(clock)
        async with build() as pipeline:
            await drive(pipeline, map(make, range(WARM_UP)))
            with stopwatch:
                results = await drive(pipeline, map(make, range(count)))
                await pipeline.stop()
        check(results, count, steps)
        return stopwatch.elapsed_s

    return sample


def on_flow(
    build: Callable[[], PenguiFlow],
    drive: FlowDrive,
    *,
    make: Make = int,
    registry: ModelRegistry | None = None,
    steps: int = len(STAGES),
    clock: Clock = time.process_time,
) -> Sample:
    """Measure the flow, from the first message to the end of `stop()`, which hands out every event."""

    async def sample(count: int) -> float:
        stopwatch = Stopwatch(clock)
        flow = build()
        async with flow.run(registry):
            await drive(flow, map(make, range(WARM_UP)))
            with stopwatch:
                results = await drive(flow, map(make, range(count)))
                dropped = flow.events_dropped
                await flow.stop()
        check(results, count, steps)
        if dropped:
            raise RuntimeError(f"{dropped} events were dropped: the figure would leave work out")
        return stopwatch.elapsed_s

    return sample


def with_middleware(build: Callable[..., PenguiFlow]) -> Callable[[], PenguiFlow]:
    """Have one async middleware listen to what `build` makes."""
    return lambda: build(middlewares=[Counter()])


def of_bare_awaits(steps: int) -> Sample:
    """Measure tasks that await their I/O, all at once."""

    async def sample(count: int) -> float:
        with Stopwatch() as stopwatch:
            results = await _floor.bare_awaits(count, steps)
        check(results, count)
        return stopwatch.elapsed_s

    return sample


def of_asking_at_once(build: Callable[[], PenguiFlow]) -> Sample:
    """Measure a flow that is asked everything at once."""

    async def sample(count: int) -> float:
        async with build() as flow:
            await flow.ask(0)
            with Stopwatch() as stopwatch:
                results = await asyncio.gather(*(flow.ask(number) for number in range(count)))
        check(results, count)
        return stopwatch.elapsed_s

    return sample


def check(results: Sequence[Any], count: int, steps: int = len(STAGES)) -> None:
    """Refuse a sample whose results are not one for each message, raised by one at each of its steps.

    Raises:
        RuntimeError: they are not.
    """
    found = sorted(_flows.number_of(result) for result in results)
    expected = [number + steps for number in range(count)]
    if found != expected:
        raise RuntimeError(f"{count} messages gave {len(found)} results, or not the right ones: {found[:3]}…")


def windowed(drive: Callable[..., Awaitable[list[Any]]]) -> Callable[[Any, Iterable[Any]], Awaitable[list[Any]]]:
    """Fix the number of outstanding messages."""
    return lambda target, values: drive(target, values, IN_FLIGHT)


def fed(feed: Callable[..., Awaitable[None]]) -> Callable[[Any, Iterable[Any]], Awaitable[list[Any]]]:
    """Keep what a feeder's collector takes."""

    async def drive(target: Any, values: Iterable[Any]) -> list[Any]:
        results: list[Any] = []
        await feed(target, values, results.append)
        return results

    return drive
