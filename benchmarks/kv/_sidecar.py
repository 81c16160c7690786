"""Through the sidecar: the same values, batches of blocks, and what one round trip costs."""

from __future__ import annotations

import hashlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pegaflow
from benchmarks.kv import _values
from benchmarks.kv._contenders import Floor, Pega, until
from benchmarks.kv._results import Measurement
from benchmarks.kv._rounds import Work, interleave
from pegaflow import BlockCache, PegaEngine

_BATCH_BYTES = 16 << 20
_BATCHES = 8
_LEAST_RATIO = 0.7
_MOST_ROUND_TRIP_US = 60.0
_ROUND_TRIPS = 500


def measure(rounds: int) -> Iterator[Measurement]:
    """Start a sidecar and measure it as a client and, for comparison, the same engine embedded."""
    with sidecar() as path, pegaflow.connect(path) as client, PegaEngine(memory_bytes=512 << 20) as engine:
        for size, size_bytes in _values.SIZES.items():
            keys = [f"{size}-{number}".encode() for number in range(_values.WORKING_SET_BYTES // size_bytes)]
            contenders = [Pega("embedded", engine, keys), Pega("sidecar", client, keys)]
            yield from _values.measure(contenders, size, threads=1, rounds=rounds, suite="sidecar")
            for key in keys:
                client.remove(key)
                engine.remove(key)
        for size in ("1 MiB", "2 MiB"):
            yield from _batches({"embedded": engine, "sidecar": client}, size, rounds)
        yield from _round_trips(client.__contains__, rounds)


def _batches(engines: Mapping[str, PegaEngine], size: str, rounds: int) -> Iterator[Measurement]:
    """Store batches of new blocks, then load batches that are there."""
    size_bytes = _values.SIZES[size]
    in_batch = _BATCH_BYTES // size_bytes
    floor = Floor(in_batch * _BATCHES, size_bytes)
    buffers = [bytearray(range(256)) * (size_bytes // 256) for _ in range(in_batch)]

    def copy_all(copy: Callable[[int, bytearray], None]) -> None:
        for number in range(in_batch * _BATCHES):
            copy(number, buffers[number % in_batch])

    caches = {name: _Batches(BlockCache(engine, f"batches-{size_bytes}"), buffers) for name, engine in engines.items()}
    for operation, floor_work in (
        ("store", lambda: copy_all(floor.put)),
        ("load_into", lambda: copy_all(floor.get_into)),
    ):
        works: dict[str, Work] = {name: getattr(batches, operation) for name, batches in caches.items()}
        samples = interleave({"memcpy": floor_work, **works}, amount=_BATCH_BYTES * _BATCHES, rounds=rounds)
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


class _Batches:
    """Batches of blocks in one cache. What is loaded is what was stored last."""

    def __init__(self, cache: BlockCache, buffers: list[bytearray]) -> None:
        self._cache = cache
        self._buffers = buffers
        self._generation = 0

    def store(self) -> None:
        """Store under new names: blocks that are there already would not be written again."""
        self._generation += 1
        for batch in range(_BATCHES):
            if failed := self._cache.store(self._hashes(batch), self._buffers):
                raise ValueError(f"no room for {len(failed)} of {len(self._buffers)} blocks")

    def load_into(self) -> None:
        """Lease and load every batch."""
        for batch in range(_BATCHES):
            with self._cache.lease(self._hashes(batch)) as lease:
                if failed := self._cache.load_into(lease, self._buffers):
                    raise ValueError(f"{len(failed)} of {len(self._buffers)} blocks were not loaded")

    def _hashes(self, batch: int) -> list[bytes]:
        names = (f"{self._generation}/{batch}/{number}" for number in range(len(self._buffers)))
        return [hashlib.sha256(name.encode()).digest() for name in names]


def _round_trips(ask: Callable[[bytes], object], rounds: int) -> Iterator[Measurement]:
    """Ask for a key that is absent, in turn with echoes of one byte: the scheduler's part of a round trip.

    Two processes that take turns may share a CPU or sit on two, and waking the other one may cost far more.
    """
    cpus = sorted(os.sched_getaffinity(0))
    anywhere, first, last = set(cpus), {cpus[0]}, {cpus[-1]}
    taken_s: dict[str, list[float]] = {"sidecar": []}
    for _ in range(rounds):
        taken_s["sidecar"] += _trips_s(lambda: ask(b"absent"))
        for name, mine, theirs in (("echo", anywhere, anywhere), ("echo, other CPU", first, last)):
            with _echo(mine, theirs) as echo:
                taken_s.setdefault(name, []).extend(_trips_s(echo))
    for name, taken in taken_s.items():
        median_us = statistics.median(taken) * 1e6
        yield Measurement(
            suite="sidecar",
            what="round trip",
            contender=name,
            value=median_us,
            unit="us",
            target=f"<= {_MOST_ROUND_TRIP_US:g} us" if name == "sidecar" else "",
            met=median_us <= _MOST_ROUND_TRIP_US if name == "sidecar" else None,
        )


def _trips_s(work: Callable[[], object]) -> list[float]:
    taken_s = []
    for _ in range(_ROUND_TRIPS):
        start = time.perf_counter()
        work()
        taken_s.append(time.perf_counter() - start)
    return taken_s


@contextmanager
def _echo(mine: set[int], theirs: set[int]) -> Iterator[Callable[[], object]]:
    """Give a call that sends a byte to another process and waits for it to come back."""
    here, there = socket.socketpair()
    answer = (
        f"import os, socket; os.sched_setaffinity(0, {theirs}); line = socket.socket(fileno=0)\n"
        "while byte := line.recv(1): line.send(byte)"
    )
    before = os.sched_getaffinity(0)
    with here, subprocess.Popen([sys.executable, "-c", answer], stdin=there.fileno()) as process:
        there.close()
        os.sched_setaffinity(0, mine)
        try:
            here.send(b"x")
            here.recv(1)
            yield lambda: (here.send(b"x"), here.recv(1))
        finally:
            os.sched_setaffinity(0, before)
            here.close()
            process.wait(10)


@contextmanager
def sidecar() -> Iterator[Path]:
    """Run a sidecar with memory only and give its socket."""
    with tempfile.TemporaryDirectory(prefix="kv-sidecar-") as scratch:
        path = Path(scratch) / "pegaflow.sock"
        command = [sys.executable, "-m", "pegaflow", "serve", "--socket", str(path), "--memory", "512MiB"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            until(path.exists)
            yield path
        finally:
            server.terminate()
            server.wait(20)
