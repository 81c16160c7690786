"""Tells the payload types that the runtime itself acts on from all others."""

from __future__ import annotations

from enum import Enum

from penguiflow.types import WM, FinalAnswer, Message, Payload, StreamChunk

__all__ = ["CHUNK", "FINAL", "KINDS", "MESSAGE", "NOTHING", "PLAIN", "WORKING", "Kind", "kind_of", "payload_kind"]


class Kind(Enum):
    """What a value means to the runtime."""

    NOTHING = "None: there is nothing to deliver"
    PLAIN = "any other value"
    MESSAGE = "a Message around one"
    FINAL = "a FinalAnswer"
    CHUNK = "a StreamChunk"
    WORKING = "a WM"


NOTHING, PLAIN, MESSAGE, FINAL, CHUNK, WORKING = Kind

# isinstance against a pydantic model goes through its metaclass and costs as much as the rest of a delivery.
KINDS: dict[type, Kind] = {type(None): Kind.NOTHING}
# Programs have a few hundred payload types; one that makes them without end must not grow this without end.
_KINDS_CAP = 4096


def kind_of(value: Payload) -> Kind:
    """Return the kind of a value, by its type."""
    kind = KINDS.get(type(value))
    return _classify(type(value)) if kind is None else kind


def payload_kind(message: Message) -> Kind:
    """Return the kind of what a message holds; a message within a message is an ordinary payload."""
    kind = kind_of(message.payload)
    return PLAIN if kind is MESSAGE or kind is CHUNK else kind


def _classify(cls: type) -> Kind:
    kind = PLAIN
    for base, candidate in ((Message, MESSAGE), (FinalAnswer, FINAL), (StreamChunk, CHUNK), (WM, WORKING)):
        if issubclass(cls, base):
            kind = candidate
    if len(KINDS) >= _KINDS_CAP:
        KINDS.clear()
        KINDS[type(None)] = NOTHING
    KINDS[cls] = kind
    return kind
