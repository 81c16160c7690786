"""What an entry costs beside its bytes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.kv._results import Measurement
from pegaflow import PegaEngine

_COUNTS = (100_000, 500_000)
_MEMORY_BYTES = 512 << 20


def measure() -> Iterator[Measurement]:
    """Count what a fresh process grows by when entries are put; the arena was touched when it was opened."""
    context = multiprocessing.get_context("spawn")
    for policy in ("lru", "arc"):
        for count in _COUNTS:
            with ProcessPoolExecutor(1, mp_context=context) as process:
                yield Measurement(
                    suite="memory",
                    what=f"per entry, {count:,} keys of 8 bytes",
                    contender=f"pegaflow, {policy}",
                    value=process.submit(_bytes_per_entry, policy, count).result(),
                    unit="B",
                )


def _bytes_per_entry(policy: str, count: int) -> float:
    keys = [number.to_bytes(8, "big") for number in range(count)]
    with PegaEngine(memory_bytes=_MEMORY_BYTES, policy=policy) as engine:
        engine.put(b"first", b"value")
        before_bytes = _resident_bytes()
        for key in keys:
            engine.put(key, b"value")
        return (_resident_bytes() - before_bytes) / count


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
