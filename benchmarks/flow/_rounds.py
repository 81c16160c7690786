"""Interleaved rounds: every case once a round, in an order that rotates, so that drift of the machine hits all."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

Clock = Callable[[], float]


@dataclass(kw_only=True, eq=False)
class Case:
    """One contender at one task; `sample` measures `count` messages once and returns the seconds they took."""

    part: str
    """Which part of the benchmark it belongs to: "a" to "d"."""
    task: str
    payloads: str
    contender: str
    count: int
    sample: Callable[[int], Coroutine[Any, Any, float]]
    floors: tuple[Case, ...] = ()
    """What it is compared with; the target is about the last one."""
    at_most: float | None = None
    """The ratio to the last floor that the runtime has set itself."""
    seconds: list[float] = field(default_factory=list)
    """Per message, one number a round."""

    @property
    def per_message_s(self) -> float:
        """Seconds per message, the median of the rounds."""
        return statistics.median(self.seconds)

    def ratio_to(self, floor: Case) -> float:
        """How many times as long as the floor it takes: the median of the ratios within a round."""
        return statistics.median(ours / theirs for ours, theirs in zip(self.seconds, floor.seconds, strict=True))


def interleave(cases: Sequence[Case], *, rounds: int, note: Callable[[str], Any]) -> None:
    """Measure every case once a round, after one short pass of each that is not counted."""
    with asyncio.Runner() as runner:
        for case in cases:
            runner.run(case.sample(max(1, case.count // 10)))
        for number in range(rounds):
            note(f"round {number + 1} of {rounds}")
            shift = number * len(cases) // rounds
            for case in (*cases[shift:], *cases[:shift]):
                case.seconds.append(runner.run(case.sample(case.count)) / case.count)


class Stopwatch:
    """Measures a block on `clock`, after a collection; the garbage collector stays on, as it is for users."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self.elapsed_s = 0.0

    def __enter__(self) -> Stopwatch:
        gc.collect()
        self.elapsed_s = -self._clock()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.elapsed_s += self._clock()
