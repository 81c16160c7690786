"""What each peer's process does: read an order a line, measure one sample, answer with the seconds it took."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Ask = Callable[[int], Awaitable[Any]]
"""Runs one message through to its result."""

BRANCHES = 8
IO_S = 0.010
TEXT = "a query of ordinary length, as people type them"


def serve(asks: Mapping[str, Ask], *, steps: Mapping[str, int]) -> None:
    """Answer orders `{"task", "callers", "count", "clock"}` until the input ends.

    Each of `callers` tasks asks, waits for its own answer, and asks again. Answers are numbers raised by `steps`.
    """
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            order = json.loads(line)
            task = order["task"]
            seconds = runner.run(_sample(asks[task], steps[task], order))
            print(json.dumps({"seconds": seconds}), flush=True)


async def _sample(ask: Ask, steps: int, order: Mapping[str, Any]) -> float:
    clock = {"cpu": time.process_time, "wall": time.perf_counter}[order["clock"]]
    count = order["count"]
    await _callers(ask, 8, order["callers"])
    gc.collect()
    started = clock()
    results = await _callers(ask, count, order["callers"])
    seconds = clock() - started
    if sorted(results) != [number + steps for number in range(count)]:
        raise RuntimeError(f"{count} messages gave {len(results)} results, or not the right ones: {results[:3]}")
    return seconds


async def _callers(ask: Ask, count: int, callers: int) -> list[Any]:
    waiting = iter(range(count))
    results: list[Any] = []

    async def caller() -> None:
        results.extend([await ask(number) for number in waiting])

    await asyncio.gather(*(caller() for _ in range(callers)))
    return results
