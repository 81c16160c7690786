"""A message on the bus: what another process has to know to handle it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penguiflow._runtime.origin import Origin, message_id
from penguiflow.types import Json

__all__ = ["Envelope", "graph_hash", "queue_name"]

_FORMAT = 1
_NONE = type(None)
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("flow", "version", "graph", "trace_id", "source", "target"), str),
    **dict.fromkeys(("generation", "index", "hop", "priority"), int),
    **dict.fromkeys(("parent", "reply_to"), (str, _NONE)),
    **dict.fromkeys(("value", "base"), (dict, _NONE)),
    "deadline_s": (int, float, _NONE),
}


def queue_name(flow: str, version: str, source: str, target: str) -> str:
    """Return the name of the queue of an edge.

    It is the same in every process. Each version has queues of its own, so that two of them can run side by side;
    that of version "1" goes without saying.
    """
    return f"{flow if version == '1' else f'{flow}@{version}'}:{source}→{target}"


def graph_hash(graph: Mapping[str, Sequence[str]]) -> str:
    """Return what tells flows of different shapes apart."""
    shape = json.dumps({name: list(targets) for name, targets in graph.items()})
    return hashlib.blake2b(shape.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One message of a trace on its way to a node in another process."""

    flow: str
    version: str
    graph: str
    """`graph_hash` of the flow that sent it."""
    trace_id: str
    generation: int
    source: str
    target: str
    index: int
    """Which emission of the source it is."""
    parent: str | None
    """The id of the message that the source handled, in hex; None where it came from outside."""
    hop: int
    """How often the loops of the flow were closed on the way."""
    value: Json
    """The encoded value; None for what tells a join that no further part comes."""
    base: Json
    """Headers and metadata of the message that started the trace, where it was one."""
    priority: int
    deadline_s: float | None
    reply_to: str | None

    @property
    def origin(self) -> Origin:
        """Where the message comes from, as the runtime has it."""
        return None if self.parent is None else bytes.fromhex(self.parent), self.source, self.index

    @property
    def message_id(self) -> str:
        """The id of the message, in hex."""
        return message_id(self.trace_id, self.target, self.origin).hex()

    def to_message(self) -> dict[str, Any]:
        """Return it as the bus takes it."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {"format": _FORMAT, "message_id": self.message_id, **fields}

    @classmethod
    def of(cls, message: Any) -> Envelope:
        """Read what `to_message` gave.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(message, dict) or message.get("format") != _FORMAT:
            raise ValueError("it is no message of a flow, or of a later release")
        try:
            envelope = cls(**{name: message[name] for name in cls.__slots__})
        except KeyError as missing:
            raise ValueError(f"it lacks {missing}") from missing
        for name, kind in _KINDS.items():
            if not isinstance(getattr(envelope, name), kind):
                raise ValueError(f"its {name} is {getattr(envelope, name)!r}")
        bytes.fromhex(envelope.parent or "")
        return envelope
