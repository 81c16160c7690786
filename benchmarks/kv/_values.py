"""Values of 64 KiB to 2 MiB: put, get, get_into and get_view, on one and two threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.kv._contenders import Contender, Floor
from benchmarks.kv._results import Measurement
from benchmarks.kv._rounds import Samples, Work, interleave, on_threads

SIZES = {"64 KiB": 64 << 10, "1 MiB": 1 << 20, "2 MiB": 2 << 20}
WORKING_SET_BYTES = 128 << 20
"""All values of one contender: beyond the caches of a core, small enough for ten contenders at once."""

LEAST_RATIO = {
    "put 64 KiB": 0.5,
    "get_into 64 KiB": 0.5,
    "put 1 MiB": 0.7,
    "get_into 1 MiB": 0.7,
    "put 2 MiB": 0.7,
    "get_into 2 MiB": 0.7,
}
"""What the embedded engine has set itself, checksums included."""

OPERATIONS = ("put", "get_into", "get", "get_view")


def measure(
    contenders: Sequence[Contender],
    size: str,
    *,
    threads: int,
    rounds: int,
    operations: Sequence[str] = OPERATIONS,
    suite: str = "values",
) -> Iterator[Measurement]:
    """Put all values once, then measure each operation over all of them."""
    size_bytes = SIZES[size]
    count = WORKING_SET_BYTES // size_bytes
    floor = Floor(count, size_bytes)
    source = bytearray(range(256)) * (size_bytes // 256)
    with ThreadPoolExecutor(threads) as pool:
        for contender in contenders:
            _over_all(contender.put, source, count, threads, pool)()
        for operation in operations:
            baseline = floor.put if operation == "put" else floor.get_into
            cases = {floor.name: _over_all(baseline, source, count, threads, pool)}
            for contender in contenders:
                if (call := getattr(contender, operation)) is not None:
                    given = source if operation in ("put", "get_into") else None
                    cases[contender.name] = _over_all(call, given, count, threads, pool)
            if operation == "get_view":
                del cases[floor.name]
            samples = interleave(cases, amount=count * size_bytes, rounds=rounds)
            task = f"{operation} {size}, {threads} thread{'s' if threads > 1 else ''}"
            for name, taken in samples.items():
                measurement = _measurement(suite, task, name, taken, samples.get(floor.name), size_bytes)
                yield _judged(measurement, taken, samples.get("lmdb")) if name == "pegaflow" else measurement


def _measurement(
    suite: str, task: str, contender: str, taken: Samples, floor: Samples | None, size_bytes: int
) -> Measurement:
    """A rate next to the floor's; without a floor, since nothing is copied, the time of one call."""
    if floor is None:
        call_us = size_bytes / taken.rate * 1e6
        return Measurement(suite=suite, what=task, contender=contender, value=call_us, unit="us")
    ratio = taken.ratio_to(floor)
    return Measurement(
        suite=suite, what=task, contender=contender, value=taken.rate / 1e9, unit="GB/s", ratio=ratio, floor="memcpy"
    )


def _judged(measurement: Measurement, taken: Samples, lmdb: Samples | None) -> Measurement:
    """Hold a measurement of the embedded engine against what it has set itself."""
    least = LEAST_RATIO.get(measurement.what.partition(",")[0])
    if least is None or measurement.ratio is None:
        return measurement
    met = measurement.ratio >= least and (lmdb is None or taken.rate > lmdb.rate)
    return dataclasses.replace(measurement, target=f">= {least:g}x memcpy, ahead of lmdb", met=met)


def _over_all(
    call: Callable[..., object], source: bytearray | None, count: int, threads: int, pool: ThreadPoolExecutor
) -> Work:
    """Call it for every number, with a buffer of the thread's own where there is a `source` to fill it with."""
    buffers = [() if source is None else (bytearray(source),) for _ in range(threads)]

    def share(thread: int) -> None:
        buffer = buffers[thread]
        for number in range(thread, count, threads):
            call(number, *buffer)

    return on_threads(pool, threads, share)
