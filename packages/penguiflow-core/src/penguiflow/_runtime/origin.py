"""Where a message comes from, and the id that follows from it."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

__all__ = ["OUTSIDE", "Origin", "collapse", "message_id"]

Origin: TypeAlias = "tuple[Origin, str, int] | bytes | None"
"""(origin of the message that the source was handling, source, index of the emission); bytes: the source's id."""

OUTSIDE = "OpenSea"
"""What stands for the outside, as the source of messages that enter a flow."""


def message_id(trace_id: str, target: str, origin: Origin) -> bytes:
    """Return the id of a message: a hash over the id of its parent, source, target and index.

    The same on every attempt and in every process, since it depends on nothing else; the chain starts at the trace
    id. It is worked out only when asked for.
    """
    steps: list[tuple[str, int, str]] = []
    while isinstance(origin, tuple):
        parent, source, index = origin
        steps.append((source, index, target))
        origin, target = parent, source
    digest = trace_id.encode() if origin is None else origin
    for source, index, receiver in reversed(steps):
        content = b"\0".join((digest, source.encode(), receiver.encode(), str(index).encode()))
        digest = hashlib.blake2b(content, digest_size=16).digest()
    return digest


def collapse(trace_id: str, source: str, origin: Origin) -> Origin:
    """Replace the chain behind a message at `source` by its id, so that a long loop does not drag its history along."""
    return message_id(trace_id, source, origin)
