"""Answers and events as bytes, in the spelling of whoever asked; each is made once a spelling."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from penguiflow_a2a._protocol.codecs import V03, V03_REST, V1, Codec
from penguiflow_a2a._protocol.tasks import TaskState
from penguiflow_a2a._protocol.v03 import Wire
from penguiflow_a2a._server.records import status_json

__all__ = [
    "ArtifactEvent",
    "ArtifactFrame",
    "ChunkEvent",
    "Event",
    "Spelling",
    "StatusEvent",
    "WireEvent",
    "dump",
    "named_too",
]


class Spelling(Enum):
    """A way to write the protocol: 1.0, 0.3, or 0.3 as its protobuf is written in JSON."""

    V1 = 0
    V03 = 1
    V03_REST = 2

    @property
    def codec(self) -> Codec:
        """What converts to and from it."""
        return _CODECS[self.value]


_CODECS = (V1, V03, V03_REST)


def dump(value: Any) -> bytes:
    """Return JSON text in ASCII, without line breaks."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def named_too(member: str, bare: bytes) -> bytes:
    """Return an object as version 0.3 gives it over HTTP+JSON: under the name of its kind, and bare beside that.

    The specification has the name, and calls the bindings equivalent, so that some clients read what JSON-RPC has.
    """
    return b'{"%s":%s,%s' % (member.encode(), bare, bare[1:])


class Event:
    """Something that happened to a task, as its streams are told of it."""

    __slots__ = ("_others", "_v1", "seq", "settles", "size")

    member: str
    """What version 1.0 calls it: `task`, `message`, `statusUpdate` or `artifactUpdate`."""

    def __init__(self) -> None:
        self.seq = -1
        """Its place among the events of the task; negative where it belongs to none."""
        self.settles = False
        """Whether the task does nothing more after it until it is asked again: a stream ends with it."""
        self.size = 0
        """About how many bytes it is, as its log counts them."""
        self._v1: bytes | None = None
        self._others: dict[Spelling, bytes] | None = None

    def written(self, spelling: Spelling) -> bytes:
        """Return the event in a spelling."""
        if spelling is Spelling.V1:
            if self._v1 is None:
                self._v1 = self._write(spelling)
            return self._v1
        if self._others is None:
            self._others = {}
        found = self._others.get(spelling)
        if found is None:
            found = self._others[spelling] = self._write(spelling)
        return found

    def _write(self, spelling: Spelling) -> bytes:
        raise NotImplementedError


class WireEvent(Event):
    """An event whose 1.0 form is given."""

    __slots__ = ("content", "member")

    def __init__(self, member: str, content: bytes) -> None:
        super().__init__()
        self.member = member
        self.content = content

    def _write(self, spelling: Spelling) -> bytes:
        return _written(self.member, self.content, spelling)


def _written(member: str, content: bytes, spelling: Spelling) -> bytes:
    if spelling is Spelling.V1:
        return b'{"%s":%s}' % (member.encode(), content)
    return dump(spelling.codec.event_to_wire({member: json.loads(content)}))


class StatusEvent(Event):
    """A change of state; it is written only where somebody is told of it."""

    __slots__ = ("_at", "_head", "_message", "_state")

    member = "statusUpdate"

    def __init__(self, head: bytes, state: TaskState, at: float, message: bytes | None) -> None:
        super().__init__()
        self._head = head
        self._state = state
        self._at = at
        self._message = message
        self.settles = state.is_settled

    def _write(self, spelling: Spelling) -> bytes:
        content = b'%s,"status":%s}' % (self._head, status_json(self._state, self._at, self._message))
        return _written(self.member, content, spelling)


class ArtifactEvent(Event):
    """A whole artifact."""

    __slots__ = ("_artifact", "_head")

    member = "artifactUpdate"

    def __init__(self, head: bytes, artifact: bytes) -> None:
        super().__init__()
        self._head = head
        self._artifact = artifact

    def _write(self, spelling: Spelling) -> bytes:
        content = b'%s,"artifact":%s,"lastChunk":true}' % (self._head, self._artifact)
        return _written(self.member, content, spelling)


class ArtifactFrame:
    """What surrounds the text in the events of one streamed artifact, made once for all of them."""

    __slots__ = ("_wire", "after", "before")

    def __init__(self, task_id: str, context_id: str, artifact_id: str, metadata: dict[str, Any]) -> None:
        self._wire: Wire = {
            "artifactUpdate": {
                "taskId": task_id,
                "contextId": context_id,
                "artifact": {"artifactId": artifact_id, "metadata": metadata, "parts": [{"text": _HOLE}]},
            }
        }
        self.before: list[bytes | None] = [None, None, None]
        self.after: list[bytes | None] = [None, None, None]

    def around(self, spelling: Spelling) -> tuple[bytes, bytes]:
        """Return what comes before the text and what comes after it, without the last two braces."""
        before, after = self.before[spelling.value], self.after[spelling.value]
        if before is None or after is None:
            written = dump(spelling.codec.event_to_wire(self._wire))
            before, after = written.split(_QUOTED_HOLE)
            self.before[spelling.value], self.after[spelling.value] = before, after
        return before, after


# Text that no id can hold: ids are checked for control characters.
_HOLE = "\x00text\x00"
_QUOTED_HOLE = dump(_HOLE)


class ChunkEvent(Event):
    """A piece of a streamed artifact."""

    __slots__ = ("append", "frame", "last", "text")

    member = "artifactUpdate"

    def __init__(self, frame: ArtifactFrame, text: bytes, *, append: bool, last: bool) -> None:
        super().__init__()
        self.frame = frame
        self.text = text
        """The text as a JSON string."""
        self.append = append
        self.last = last

    def _write(self, spelling: Spelling) -> bytes:
        before, after = self.frame.around(spelling)
        flags = (b',"append":true' if self.append else b"") + (b',"lastChunk":true' if self.last else b"")
        if not flags:
            return before + self.text + after
        # The update is the last object of the event in every spelling; 0.3 over JSON-RPC has no wrapper around it.
        braces = 1 if spelling is Spelling.V03 else 2
        return before + self.text + after[:-braces] + flags + after[-braces:]
