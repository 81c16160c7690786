"""The contenders: tasks that write into a store at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from benchmarks.flow._rounds import Stopwatch
from benchmarks.state import _rows
from penguiflow_state import SqliteStateStore
from penguiflow_state.postgres import PostgresStateStore

__all__ = ["Make", "record_steps", "save_events"]

Make = Callable[[], SqliteStateStore | PostgresStateStore]


async def save_events(make: Make, count: int, tasks: int) -> float:
    """Save events from so many tasks; returns the seconds until all are committed."""
    stopwatch = Stopwatch()
    async with make() as store:

        async def work(number: int) -> None:
            for _ in range(count // tasks):
                await store.save_event(f"trace-{number}", 1764295200.25, "node_end", _rows.EVENT)

        with stopwatch:
            await asyncio.gather(*(work(number) for number in range(tasks)))
            await store.load_history("nobody")
        found = await store.load_history("trace-0")
        assert len(found) == count // tasks, f"{len(found)} events of {count // tasks}"
    return stopwatch.elapsed_s


async def record_steps(make: Make, count: int, tasks: int) -> float:
    """Record steps of so many traces, one after the other in each; returns the seconds until all are committed."""
    stopwatch = Stopwatch()
    async with make() as store:
        leases = [
            await store.open_trace(_rows.start(f"trace-{number}"), owner="bench", lease_s=3600)
            for number in range(tasks)
        ]

        async def work(number: int) -> None:
            for message in range(count // tasks):
                await store.record_step(leases[number], _rows.step(f"message-{number}-{message}"))

        with stopwatch:
            await asyncio.gather(*(work(number) for number in range(tasks)))
        found = await store.load_steps("trace-0")
        assert len(found) == count // tasks, f"{len(found)} steps of {count // tasks}"
    return stopwatch.elapsed_s
