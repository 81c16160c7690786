"""Interleaved rounds: every case once a round, in an order that rotates, so that drift of the machine hits all."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

Work = Callable[[], None]


@dataclass
class Samples:
    """What a case took, a number a round."""

    amount: float
    """What one pass does: bytes, or operations."""
    passes_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Amount per second, the median of the rounds."""
        return self.amount / statistics.median(self.passes_s)

    def ratio_to(self, floor: "Samples") -> float:
        """This rate in units of the floor's: the median of the ratios within a round."""
        pairs = zip(self.passes_s, floor.passes_s, strict=True)
        return statistics.median(theirs / ours for ours, theirs in pairs) * self.amount / floor.amount


def interleave(cases: Mapping[str, Work], *, amount: float, rounds: int) -> dict[str, Samples]:
    """Run every case once to warm up, then once a round."""
    samples = {name: Samples(amount) for name in cases}
    names = list(cases)
    for name in names:
        cases[name]()
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            samples[name].passes_s.append(timed_s(cases[name]))
    return samples


def timed_s(work: Work) -> float:
    """Run it once, with the garbage collector out of the way, and return the seconds it took."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    finally:
        gc.enable()


def on_threads(pool: ThreadPoolExecutor, threads: int, work: Callable[[int], None]) -> Work:
    """Run `work(0)` to `work(threads - 1)` at once; with one thread, on the caller's."""
    if threads == 1:
        return lambda: work(0)

    def together() -> None:
        for _ in pool.map(work, range(threads)):
            pass

    return together
