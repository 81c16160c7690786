"""How much memory many traces take behind a feeder that is held back, in a process of its own for each contender.

Run as `python -m benchmarks.flow._memory CONTENDER TRACES`, it prints the figures of one contender as JSON.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.flow import _flows
from benchmarks.flow._floor import Pipeline
from benchmarks.flow._flows import Counter

PAYLOAD_BYTES = 1024
"""Each payload is its own, so that messages which pile up are seen: ten thousand of them are 10 MB."""
PEAK_MB_AT_MOST = 10.0
LEFT_MB_AT_MOST = 1.0
WARM_UP = 500

Feed = Callable[[Iterator[bytes], Callable[[bytes], None]], Awaitable[None]]


def measure(traces: int) -> list[dict[str, Any]]:
    """Return the figures of every contender."""
    return [_in_process(contender, traces) for contender in CONTENDERS]


def _in_process(contender: str, traces: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.flow._memory", contender, str(traces)]
    measured: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    is_flow = contender != "queues"
    return {
        "contender": contender,
        "traces": traces,
        **measured,
        "peak_mb_at_most": PEAK_MB_AT_MOST if is_flow else None,
        "left_mb_at_most": LEFT_MB_AT_MOST if is_flow else None,
        "met": None
        if not is_flow
        else measured["peak_mb"] <= PEAK_MB_AT_MOST and measured["left_mb"] <= LEFT_MB_AT_MOST,
    }


async def _give_way(value: bytes, ctx: object) -> bytes:
    """Return the value after a turn of the event loop, so that a feeder could run ahead."""
    await asyncio.sleep(0)
    return value


@asynccontextmanager
async def _queues() -> AsyncIterator[Feed]:
    async with Pipeline([_give_way] * 3) as pipeline:
        yield pipeline.feed


@asynccontextmanager
async def _flow(**options: Any) -> AsyncIterator[Feed]:
    async with _flows.three_nodes(_give_way, **options) as flow:
        yield functools.partial(_flows.feed, flow)


CONTENDERS: dict[str, Callable[[], AbstractAsyncContextManager[Feed]]] = {
    "queues": _queues,
    "flow": _flow,
    "flow, one middleware": lambda: _flow(middlewares=[Counter()]),
}


async def _measure(contender: str, traces: int) -> dict[str, float | None]:
    async with CONTENDERS[contender]() as feed:
        await feed(_payloads(WARM_UP), _drop)
        rss_before = _reset_peak_rss_bytes()
        await feed(_payloads(traces), _drop)
        rss_growth = None if rss_before is None else (_status_bytes("VmHWM") - rss_before) / 1e6
        gc.collect()
        tracemalloc.start()
        await feed(_payloads(WARM_UP), _drop)
        gc.collect()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        await feed(_payloads(traces), _drop)
        peak = tracemalloc.get_traced_memory()[1]
        gc.collect()
        left = tracemalloc.get_traced_memory()[0]
    return {
        "peak_mb": round((peak - before) / 1e6, 3),
        "left_mb": round((left - before) / 1e6, 3),
        "resident_peak_mb": None if rss_growth is None else round(rss_growth, 3),
    }


def _payloads(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield number.to_bytes(8) * (PAYLOAD_BYTES // 8)


def _drop(value: bytes) -> None:
    assert len(value) == PAYLOAD_BYTES


def _reset_peak_rss_bytes() -> int | None:
    """Forget the highest resident size so far and return the present one; None where the system has no such thing."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measure(sys.argv[1], int(sys.argv[2])))))
