"""Through the sidecar: the same values, batches of blocks, and what one round trip costs."""

from __future__ import annotations

import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pegaflow
from benchmarks.kv import _values
from benchmarks.kv._contenders import Floor, Pega, until
from benchmarks.kv._results import Measurement
from benchmarks.kv._rounds import interleave
from pegaflow import BlockCache, PegaEngine

_BATCH_BYTES = 16 << 20
_BATCHES = 8
_LEAST_RATIO = 0.7
_MOST_ROUND_TRIP_US = 60.0
_ROUND_TRIPS = 2_000


def measure(rounds: int) -> Iterator[Measurement]:
    """Start a sidecar and measure it as a client and, for comparison, the same engine embedded."""
    with sidecar() as socket, pegaflow.connect(socket) as client, PegaEngine(memory_bytes=512 << 20) as engine:
        for size, size_bytes in _values.SIZES.items():
            keys = [f"{size}-{number}".encode() for number in range(_values.WORKING_SET_BYTES // size_bytes)]
            contenders = [Pega("embedded", engine, keys), Pega("sidecar", client, keys)]
            yield from _values.measure(contenders, size, threads=1, rounds=rounds, suite="sidecar")
            for key in keys:
                client.remove(key)
                engine.remove(key)
        for size in ("1 MiB", "2 MiB"):
            yield from _batches(client, size, rounds)
        yield _round_trip(client.__contains__)


def _batches(client: PegaEngine, size: str, rounds: int) -> Iterator[Measurement]:
    size_bytes = _values.SIZES[size]
    in_batch = _BATCH_BYTES // size_bytes
    floor = Floor(in_batch * _BATCHES, size_bytes)
    buffers = [bytearray(range(256)) * (size_bytes // 256) for _ in range(in_batch)]
    cache = BlockCache(client, f"batches-{size_bytes}")
    generation = iter(range(1_000_000))

    def copy_all(copy: Callable[[int, bytearray], None]) -> None:
        for number in range(in_batch * _BATCHES):
            copy(number, buffers[number % in_batch])

    def store_all() -> None:
        # Blocks that are there already would not be written again, so every pass names new ones.
        mark = next(generation)
        for batch in range(_BATCHES):
            cache.store(_hashes(mark, batch, in_batch), buffers)

    cache.store(_hashes(-1, 0, in_batch), buffers)

    def load_all() -> None:
        for _ in range(_BATCHES):
            with cache.lease(_hashes(-1, 0, in_batch)) as lease:
                cache.load_into(lease, buffers)

    for operation, floor_work, work in (
        ("store", lambda: copy_all(floor.put), store_all),
        ("load_into", lambda: copy_all(floor.get_into), load_all),
    ):
        samples = interleave({"memcpy": floor_work, "sidecar": work}, amount=_BATCH_BYTES * _BATCHES, rounds=rounds)
        for name, taken in samples.items():
            ratio = taken.ratio_to(samples["memcpy"])
            yield Measurement(
                suite="sidecar",
                what=f"{operation}, {in_batch} blocks of {size}",
                contender=name,
                value=taken.rate / 1e9,
                unit="GB/s",
                ratio=ratio,
                floor="memcpy",
                target=f">= {_LEAST_RATIO:g}x memcpy" if name == "sidecar" else "",
                met=ratio >= _LEAST_RATIO if name == "sidecar" else None,
            )


def _hashes(mark: int, batch: int, count: int) -> list[bytes]:
    return [hashlib.sha256(f"{mark}/{batch}/{number}".encode()).digest() for number in range(count)]


def _round_trip(ask: Callable[[bytes], object]) -> Measurement:
    taken_s = []
    for _ in range(_ROUND_TRIPS):
        start = time.perf_counter()
        ask(b"absent")
        taken_s.append(time.perf_counter() - start)
    median_us = statistics.median(taken_s) * 1e6
    return Measurement(
        suite="sidecar",
        what="round trip (a key that is absent)",
        contender="sidecar",
        value=median_us,
        unit="us",
        target=f"<= {_MOST_ROUND_TRIP_US:g} us",
        met=median_us <= _MOST_ROUND_TRIP_US,
    )


@contextmanager
def sidecar() -> Iterator[Path]:
    """Run a sidecar with memory only and give its socket."""
    with tempfile.TemporaryDirectory(prefix="kv-sidecar-") as scratch:
        socket = Path(scratch) / "pegaflow.sock"
        command = [sys.executable, "-m", "pegaflow", "serve", "--socket", str(socket), "--memory", "512MiB"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            until(socket.exists)
            yield socket
        finally:
            server.terminate()
            server.wait(20)
