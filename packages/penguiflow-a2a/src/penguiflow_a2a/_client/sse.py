"""Server-Sent Events, read from bytes as they arrive."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EventTooLarge", "ServerSentEvent", "SseParser"]

_BOM = b"\xef\xbb\xbf"
# An id is sent back in a header: what no header holds is no id of ours.
_ID_CAP = 1024
# What a line that is kept takes beside its bytes; a stream of empty ones is bounded too.
_LINE_COST = 40


class EventTooLarge(ValueError):
    """An event is larger than what the parser keeps."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event of a stream."""

    data: bytes
    """Its lines of data, joined by line breaks."""
    name: str
    """What the server calls it; `message` where it does not say."""
    event_id: str | None
    """The last id that the stream has given."""


class SseParser:
    """Takes a stream apart into events, whatever pieces it comes in; keeps at most `event_bytes` of one event."""

    def __init__(self, *, event_bytes: int) -> None:
        self._event_bytes = event_bytes
        self._partial = bytearray()
        """A line whose end is still to come."""
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._id: str | None = None
        self._after_cr = False
        self._begun = False

    @property
    def inside_event(self) -> bool:
        """Whether an event has begun whose end is still to come."""
        return bool(self._data or self._partial)

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Take the next bytes and return the events that they complete.

        Raises:
            EventTooLarge: more of one event is there than is kept.
        """
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        events: list[ServerSentEvent] = []
        for line in piece.splitlines(keepends=True):
            self._after_cr = False
            if not line.endswith((b"\n", b"\r")):
                self._keep(line)
                break
            if self._partial:
                self._keep(line)
                line = bytes(self._partial)
                self._partial.clear()
            # Its line feed may come with the next piece.
            self._after_cr = line.endswith(b"\r")
            event = self._take(line.rstrip(b"\r\n"))
            if event is not None:
                events.append(event)
        return events

    def _keep(self, part: bytes) -> None:
        self._partial += part
        self._check(self._size + len(self._partial))

    def _take(self, line: bytes) -> ServerSentEvent | None:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._size += len(value) + _LINE_COST
            self._check(self._size)
            self._data.append(value)
        elif field == b"event":
            self._name = value[:_ID_CAP].decode("utf-8", "replace")
        elif field == b"id" and len(value) <= _ID_CAP and value.isascii() and value.decode().isprintable():
            self._id = value.decode()
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        data, name = self._data, self._name or "message"
        self._data, self._size, self._name = [], 0, ""
        return ServerSentEvent(b"\n".join(data), name, self._id) if data else None

    def _check(self, size: int) -> None:
        if size > self._event_bytes:
            raise EventTooLarge
