"""With a directory: sequential writes and reads next to direct I/O on the same disk, and opening a full log."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.kv import _values
from benchmarks.kv._contenders import Pega
from benchmarks.kv._results import Measurement
from benchmarks.kv._rounds import Work, interleave, timed_s
from pegaflow import PegaEngine

_BLOCK_BYTES = 1 << 20
_TOTAL_BYTES = 1 << 30
_DIRECT_CHUNK_BYTES = 8 << 20
"""Large enough that a larger one is no faster on one thread."""

_LEAST_RATIO = 0.8
_MOST_OPEN_S = 0.5


def measure(rounds: int, open_blocks: int) -> Iterator[Measurement]:
    """Measure in the temporary directory: set TMPDIR to choose the disk."""
    with tempfile.TemporaryDirectory(prefix="kv-disk-") as scratch:
        yield from _sequential(Path(scratch), rounds)
    with tempfile.TemporaryDirectory(prefix="kv-logged-") as scratch:
        yield from _values_logged(Path(scratch), rounds)
    with tempfile.TemporaryDirectory(prefix="kv-open-") as scratch:
        yield _opening(Path(scratch), open_blocks)


def _sequential(scratch: Path, rounds: int) -> Iterator[Measurement]:
    direct = DirectFile(scratch / "direct")
    count = _TOTAL_BYTES // _BLOCK_BYTES
    value = os.urandom(_BLOCK_BYTES)
    target = bytearray(_BLOCK_BYTES)
    # Memory for a small part of the blocks, so that a pass over all of them finds each on disk.
    with PegaEngine(scratch / "engine", memory_bytes=64 << 20, disk_bytes=_TOTAL_BYTES * (rounds + 9)) as engine:

        def put_all() -> None:
            for number in range(count):
                engine.put(f"{number}", value)
            engine.flush()

        def get_all() -> None:
            for number in range(count):
                if engine.get_into(f"{number}", target) != _BLOCK_BYTES:
                    raise ValueError(f"value {number} is not what was put")

        for what, floor, work in (("write", direct.write, put_all), ("read", direct.read, get_all)):
            cases: dict[str, Work] = {
                "direct I/O": partial(floor, _DIRECT_CHUNK_BYTES),
                "direct I/O, 1 MiB at a time": partial(floor, _BLOCK_BYTES),
                "pegaflow": work,
            }
            samples = interleave(cases, amount=_TOTAL_BYTES, rounds=rounds)
            for name, taken in samples.items():
                ratio = taken.ratio_to(samples["direct I/O"])
                yield Measurement(
                    suite="disk",
                    what=f"sequential {what}, 1 MiB values",
                    contender=name,
                    value=taken.rate / 1e9,
                    unit="GB/s",
                    ratio=ratio,
                    floor="direct I/O",
                    target=f">= {_LEAST_RATIO:g}x direct I/O" if name == "pegaflow" else "",
                    met=ratio >= _LEAST_RATIO if name == "pegaflow" else None,
                )
    direct.close()


def _values_logged(scratch: Path, rounds: int) -> Iterator[Measurement]:
    """Values that fit in memory: every put goes to the log too, every get finds its value in memory."""
    for size, size_bytes in _values.SIZES.items():
        keys = [f"{size}-{number}".encode() for number in range(_values.WORKING_SET_BYTES // size_bytes)]
        room_bytes = _values.WORKING_SET_BYTES * 2 * (rounds + 8)
        with PegaEngine(scratch / size, memory_bytes=512 << 20, disk_bytes=room_bytes) as engine:
            for threads in (1, 2):
                yield from _values.measure(
                    [Pega("with a directory", engine, keys)],
                    size,
                    threads=threads,
                    rounds=rounds,
                    operations=("put", "get_into"),
                    suite="logged",
                )


def _opening(scratch: Path, blocks: int) -> Measurement:
    value = os.urandom(_BLOCK_BYTES)
    disk_bytes = blocks * _BLOCK_BYTES * 5 // 4 + (1 << 30)

    def open_it() -> PegaEngine:
        return PegaEngine(scratch, memory_bytes=16 << 20, disk_bytes=disk_bytes)

    with open_it() as engine:
        for number in range(blocks):
            engine.put(f"{number}", value)
    engines: list[PegaEngine] = []
    taken_s = timed_s(lambda: engines.append(open_it()))
    with engines[0] as engine:
        if len(engine) != blocks:
            raise ValueError(f"{len(engine)} of {blocks} blocks are there after opening")
    return Measurement(
        suite="disk",
        what=f"open {blocks:,} blocks of 1 MiB",
        contender="pegaflow",
        value=taken_s,
        unit="s",
        target=f"<= {_MOST_OPEN_S:g} s",
        met=taken_s <= _MOST_OPEN_S,
    )


class DirectFile:
    """A file written and read in order past the page cache: what the disk gives to one thread."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        self._buffer = mmap.mmap(-1, _DIRECT_CHUNK_BYTES)
        self._buffer.write(os.urandom(_DIRECT_CHUNK_BYTES))

    def write(self, chunk_bytes: int) -> None:
        """Write the whole file anew, in blocks that the file system has just given, as a log does, and sync it."""
        os.ftruncate(self._file, 0)
        os.posix_fallocate(self._file, 0, _TOTAL_BYTES)
        chunk = memoryview(self._buffer)[:chunk_bytes]
        for start in range(0, _TOTAL_BYTES, chunk_bytes):
            if os.pwrite(self._file, chunk, start) != chunk_bytes:
                raise OSError(f"a write of {chunk_bytes} bytes was cut short")
        os.fdatasync(self._file)

    def read(self, chunk_bytes: int) -> None:
        """Read the whole file."""
        chunk = memoryview(self._buffer)[:chunk_bytes]
        for start in range(0, _TOTAL_BYTES, chunk_bytes):
            if os.preadv(self._file, [chunk], start) != chunk_bytes:
                raise OSError(f"a read of {chunk_bytes} bytes was cut short")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
