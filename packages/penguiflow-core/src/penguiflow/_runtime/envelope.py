"""What a queue holds: a value, the run it belongs to, and its place in that run."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeAlias

from penguiflow.types import Payload

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run

__all__ = ["Envelope", "Path", "extend_path", "path_id"]

Path: TypeAlias = "tuple[Path, str, str, int, int] | bytes | None"
"""How a message came about: (path of its parent, source, target, index of the emission, length); bytes: its id."""

# A long loop would otherwise keep one tuple a hop; an id stands for the whole path so far.
_COLLAPSE_AT = 32


class Envelope:
    """One message at one node. Slotted and plain: there is one for each message and node."""

    __slots__ = ("attempt", "counted", "hop", "path", "run", "value")

    def __init__(self, run: Run, value: Payload, hop: int, path: Path) -> None:
        self.run = run
        self.value = value
        self.hop = hop
        """How often the loops of the flow were closed on the way here."""
        self.path = path
        self.attempt = 0
        self.counted = True
        """Whether the message counts against the bound of its queue; those on a cycle have a cap of their own."""


def extend_path(parent: Path, source: str, target: str, index: int) -> Path:
    """Return the path of emission number `index` of the invocation at `parent`."""
    if type(parent) is tuple:
        length = parent[4] + 1
        if length > _COLLAPSE_AT:
            return (path_id("", parent), source, target, index, 1)
        return (parent, source, target, index, length)
    return (parent, source, target, index, 1)


def path_id(trace_id: str, path: Path) -> bytes:
    """Return the id of a message: a chained hash over parent id, source, target and index.

    The same on every attempt and in every process, since it depends on nothing else; `trace_id` is where the chain
    starts.
    """
    steps = []
    while isinstance(path, tuple):
        steps.append(path)
        path = path[0]
    digest = path if path is not None else trace_id.encode()
    for _, source, target, index, _ in reversed(steps):
        content = b"\0".join((digest, source.encode(), target.encode(), str(index).encode()))
        digest = hashlib.blake2b(content, digest_size=16).digest()
    return digest
