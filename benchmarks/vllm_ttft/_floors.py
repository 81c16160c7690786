"""What the same bytes cost at the least: a copy in memory, a direct read from the disk."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

_PIECE_BYTES = 8 << 20


class Floors:
    """Copies and reads of as many bytes as a prompt's KV cache takes."""

    def __init__(self, directory: Path, most_bytes: int) -> None:
        import numpy as np

        self._source = np.ones(most_bytes, dtype=np.uint8)
        self._target = np.zeros(most_bytes, dtype=np.uint8)
        self._path = directory / "floor.bin"
        self._path.write_bytes(self._source.tobytes())
        descriptor = os.open(self._path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def copy_s(self, size_bytes: int) -> float:
        """Copy once on one thread, between memory that was touched before."""
        import numpy as np

        begun = time.perf_counter()
        np.copyto(self._target[:size_bytes], self._source[:size_bytes])
        return time.perf_counter() - begun

    def read_s(self, size_bytes: int) -> float:
        """Read a file once in order, past the page cache."""
        with mmap.mmap(-1, _PIECE_BYTES) as buffer:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECT)
            begun = time.perf_counter()
            for offset in range(0, size_bytes, _PIECE_BYTES):
                os.preadv(descriptor, [buffer], offset)
            took_s = time.perf_counter() - begun
            os.close(descriptor)
        return took_s
