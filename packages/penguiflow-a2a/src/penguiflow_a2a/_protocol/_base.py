"""What the objects of the protocol have in common."""

from __future__ import annotations

import functools
import time
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

__all__ = ["Flag", "Json", "Many", "Meta", "Optional_", "WireModel", "timestamp", "wire_json"]

Json: TypeAlias = Any
"""What JSON can hold."""
Meta: TypeAlias = dict[str, Json]
"""Free keys and values beside an object."""

_T = TypeVar("_T")


def _none_to_list(value: object) -> object:
    return [] if value is None else value


def _none_to_false(value: object) -> object:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


# In ProtoJSON null stands for a field that is not set.
Many = Annotated[list[_T], BeforeValidator(_none_to_list)]
Flag = Annotated[bool, BeforeValidator(_none_to_false)]
Optional_ = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


# Many readers of streams take these for the end of a line too, as `str.splitlines` does.
_LINE_BREAKS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


def _on_one_line(written: bytes) -> bytes:
    if not written.isascii():
        for line_break, escaped in _LINE_BREAKS:
            written = written.replace(line_break, escaped)
    return written


def wire_json(value: Json) -> bytes:
    """Return a value as JSON text without a line break of any kind; a number that JSON cannot hold becomes null."""
    return _on_one_line(to_json(value, inf_nan_mode="null"))


class WireModel(BaseModel):
    """An object of the protocol, in the spelling of version 1.0.

    Fields are given in Python by their own names and on the wire in camel case; either is read. What is not known is
    ignored, and what has its default is not written, as ProtoJSON has it.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def to_wire(self) -> dict[str, Json]:
        """Return the object as version 1.0 spells it."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def to_wire_json(self) -> bytes:
        """Return the object as JSON text without a line break of any kind, as version 1.0 spells it."""
        return _on_one_line(self.__pydantic_serializer__.to_json(self, by_alias=True, exclude_defaults=True))


@functools.lru_cache(maxsize=4)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def timestamp(at: float | None = None) -> str:
    """Return a point in time (seconds since the epoch; now without one) as the protocol writes it, ending in `Z`."""
    moment = time.time() if at is None else at
    second = int(moment // 1)
    return f"{_second(second)}.{int((moment - second) * 1000):03d}Z"
