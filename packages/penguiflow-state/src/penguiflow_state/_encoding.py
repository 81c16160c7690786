"""Payloads as JSON text and back, and how large ones are kept apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from penguiflow.state import Step, TraceStart, TraceValue

__all__ = [
    "decode",
    "encode",
    "encode_start",
    "encode_values",
    "is_reference",
    "merge_values",
    "references",
    "resolve",
    "spill",
    "to_start",
    "to_step",
]

_MARK = "#"
"""What a reference to a blob begins with; no JSON text does."""
_TEXTS = frozenset({"data", "error", "outputs", "start", "value", "vals"})
"""What holds JSON text in rows and in answers."""
_WITHIN = frozenset({"parts", "recorded", "values"})
"""What holds rows in answers."""


def encode(value: object) -> str:
    """Return the value as JSON text.

    Raises:
        TypeError: it holds something that JSON cannot.
    """
    try:
        return to_json(value).decode()
    except (PydanticSerializationError, UnicodeError) as error:
        raise TypeError(f"not JSON serializable: {error}") from error


def decode(text: str | None) -> Any:
    """Return what a JSON text holds; None for none."""
    return None if text is None else from_json(text)


def encode_start(start: TraceStart) -> str:
    """Return what a trace begins with, but for what the database has in columns of its own."""
    return encode(
        {
            "graph": {node: list(successors) for node, successors in start.graph.items()},
            "message": start.message,
            "entries": list(start.entries),
            "deadline_s": start.deadline_s,
            "priority": start.priority,
            "reply_to": start.reply_to,
        }
    )


def to_start(trace_id: str, flow: str, version: str, text: str) -> TraceStart:
    """Return what `encode_start` was given."""
    fields = from_json(text)
    fields["graph"] = {node: tuple(successors) for node, successors in fields["graph"].items()}
    fields["entries"] = tuple(fields["entries"])
    return TraceStart(trace_id=trace_id, flow=flow, version=version, **fields)


def encode_values(values: Iterable[TraceValue]) -> str | None:
    """Return values as JSON text; None for none."""
    listed = [(value.value_id, value.exit_name, value.value) for value in values]
    return encode(listed) if listed else None


def merge_values(texts: Iterable[str]) -> tuple[TraceValue, ...]:
    """Return the values of steps in their order, each id once."""
    values: dict[str, TraceValue] = {}
    for text in texts:
        for value_id, exit_name, value in from_json(text):
            values.setdefault(value_id, TraceValue(value_id, exit_name, value))
    return tuple(values.values())


def to_step(row: Mapping[str, Any]) -> Step:
    """Return a step out of its row, whose texts are resolved."""
    return Step(
        message_id=row["message_id"],
        node_name=row["node_name"],
        outputs=decode(row["outputs"]),
        produced=row["produced"],
        values=merge_values([row["vals"]] if row["vals"] else []),
        consumed=tuple(decode(row["consumed"]) or ()),
    )


def is_reference(text: object) -> bool:
    """Whether a text stands for a blob."""
    return isinstance(text, str) and text.startswith(_MARK)


def spill(text: str | None, limit_bytes: int, blobs: dict[str, str]) -> str | None:
    """Return the text, or where it is larger a reference to it, and put it among the blobs then."""
    if text is None or len(text) <= limit_bytes // 4 or len(encoded := text.encode()) <= limit_bytes:
        return text
    reference = _MARK + hashlib.sha256(encoded).hexdigest()
    blobs[reference] = text
    return reference


def references(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Return the references in rows or answers."""
    for row in rows:
        for name, value in row.items():
            if name in _TEXTS and is_reference(value):
                yield value
            elif name in _WITHIN and value is not None:
                yield from references(value)


def resolve(row: Mapping[str, Any], blobs: Mapping[str, str]) -> dict[str, Any]:
    """Return a row or an answer with the texts in place of the references to them."""
    complete = dict(row)
    for name, value in row.items():
        if name in _TEXTS and is_reference(value):
            complete[name] = blobs[value]
        elif name in _WITHIN and value is not None:
            complete[name] = [resolve(part, blobs) for part in value]
    return complete
