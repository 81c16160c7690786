"""What an entry costs beside its bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.kv._results import Measurement
from pegaflow import PegaEngine

_COUNTS = (100_000, 500_000)
_MEMORY_BYTES = 512 << 20


def measure() -> Iterator[Measurement]:
    """Count what the process has grown by when entries were put; the arena was touched when it was opened."""
    for policy in ("lru", "arc"):
        keys = [number.to_bytes(8, "big") for number in range(_COUNTS[-1])]
        with PegaEngine(memory_bytes=_MEMORY_BYTES, policy=policy) as engine:
            engine.put(b"first", b"")
            empty_bytes = _resident_bytes()
            for count in _COUNTS:
                for key in keys[len(engine) - 1 : count]:
                    engine.put(key, b"value")
                yield Measurement(
                    suite="memory",
                    what=f"per entry, {count:,} keys of 8 bytes",
                    contender=f"pegaflow, {policy}",
                    value=(_resident_bytes() - empty_bytes) / count,
                    unit="B",
                )


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
