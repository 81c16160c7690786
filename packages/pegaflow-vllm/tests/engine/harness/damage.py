"""What can happen to stored blocks: their files are cut or altered, and so is the memory of the sidecar."""

from __future__ import annotations

import mmap
import os
import random
from pathlib import Path

STRIDE_BYTES = 16384
"""A byte is altered in each stretch of so many: every block is hit."""


def alter_files(directory: Path, seed: int) -> int:
    """Flip a bit in each stretch of every file, and give how many."""
    draw = random.Random(seed)
    flipped = 0
    for path in sorted(directory.rglob("*")):
        if not path.is_file():
            continue
        content = bytearray(path.read_bytes())
        flipped += flip(content, len(content), draw)
        path.write_bytes(content)
    return flipped


def cut_files(directory: Path, seed: int) -> int:
    """Truncate every file of blocks at a random place inside what was written."""
    draw = random.Random(seed)
    cut = 0
    for path in sorted(directory.rglob("*")):
        written = len(path.read_bytes().rstrip(b"\0")) if path.is_file() else 0
        if written > STRIDE_BYTES:
            os.truncate(path, draw.randrange(STRIDE_BYTES, written))
            cut += 1
    return cut


def alter_memory(pid: int, seed: int) -> int:
    """Flip a bit in each stretch of the arena of a sidecar, which its clients share."""
    draw = random.Random(seed)
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if str(link.readlink()).startswith("/memfd:"):
            descriptor = os.open(link, os.O_RDWR)
            with mmap.mmap(descriptor, 0) as arena:
                flipped = flip(arena, len(arena), draw)
            os.close(descriptor)
            return flipped
    raise FileNotFoundError(f"process {pid} has no arena")


def flip(content: bytearray | mmap.mmap, size: int, draw: random.Random) -> int:
    """Flip a bit in each stretch, where something other than zeros is."""
    flipped = 0
    for start in range(0, size - STRIDE_BYTES, STRIDE_BYTES):
        if any(content[start : start + STRIDE_BYTES]):
            content[start + draw.randrange(STRIDE_BYTES)] ^= 1 << draw.randrange(8)
            flipped += 1
    return flipped
