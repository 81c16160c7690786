"""Messages as Redis holds them, and where in a queue they go."""

from __future__ import annotations

import json
import zlib
from typing import Any

from penguiflow_bus_redis._errors import MessageNotJson

__all__ = ["decode", "encode", "place_of", "trace_of"]

_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_decoder = json.JSONDecoder()


def encode(queue: str, message: Any) -> bytes:
    """Write a message.

    Raises:
        MessageNotJson: JSON cannot hold it.
    """
    try:
        return _encoder.encode(message).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageNotJson(queue, str(error)) from None


def decode(payload: bytes) -> Any:
    """Read a message; raises ValueError where it is none."""
    return _decoder.decode(payload.decode())


def trace_of(message: Any) -> str:
    """Return the id of the message's trace, empty where it has none."""
    trace_id = message.get("trace_id") if isinstance(message, dict) else None
    return trace_id if isinstance(trace_id, str) else ""


def place_of(message: Any, partitions: int) -> str:
    """Return `partition:band` of a message: messages of a trace, and those of none, share a partition."""
    if not isinstance(message, dict):
        return "0:1"
    priority = message.get("priority", 0)
    band = (1 if priority == 0 else 0 if priority > 0 else 2) if isinstance(priority, int) else 1
    trace_id = message.get("trace_id")
    if not isinstance(trace_id, str):
        return f"0:{band}"
    return f"{zlib.crc32(trace_id.encode('utf-8', 'surrogatepass')) % partitions}:{band}"
