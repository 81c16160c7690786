"""Payloads as JSON, by pydantic's rules: models, dataclasses, dates and whatever else it knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter

from penguiflow.types import Json, Payload

__all__ = ["encode", "to_plain", "to_plain_or_text"]

_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
# Deeper than anyone reads; a payload that contains itself ends here.
_DEPTH_CAP = 20


def encode(value: Payload) -> bytes:
    """Return the value as JSON text.

    Raises:
        ValueError: it holds something that JSON cannot.
    """
    return _ANYTHING.dump_json(value)


def to_plain(value: Payload) -> Json:
    """Return the value as what `json` can write.

    Raises:
        ValueError: it holds something that JSON cannot.
    """
    return _ANYTHING.dump_python(value, mode="json")


def to_plain_or_text(value: Payload, depth: int = 0) -> Json:
    """Return the value as what `json` can write; a part that JSON cannot hold becomes its text."""
    try:
        return to_plain(value)
    except ValueError:
        if depth < _DEPTH_CAP:
            if isinstance(value, Mapping):
                return {str(key): to_plain_or_text(part, depth + 1) for key, part in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [to_plain_or_text(part, depth + 1) for part in value]
            if isinstance(value, BaseModel):
                return {name: to_plain_or_text(getattr(value, name), depth + 1) for name in type(value).model_fields}
    return str(value)
