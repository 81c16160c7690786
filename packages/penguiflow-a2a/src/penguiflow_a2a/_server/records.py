"""A task as the server keeps it: its JSON in pieces, so that no change copies or encodes the rest."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from penguiflow_a2a._protocol._base import timestamp, wire_json
from penguiflow_a2a._protocol.requests import TaskPushNotificationConfig
from penguiflow_a2a._protocol.tasks import Message, TaskState

__all__ = ["Artifacts", "TaskRecord", "json_string", "parse_timestamp", "status_json", "trace_id_of"]


# Shared by all tasks without any: a task that is kept should be few objects, since each costs the garbage collector.
_NO_PUSH: Mapping[str, tuple[TaskPushNotificationConfig, int]] = MappingProxyType({})


Artifacts: TypeAlias = Literal["any", "listed", "none"]
"""Which artifacts are written of a task: those it has, those and else an empty list, or none."""


def json_string(text: str) -> bytes:
    """Return text as a JSON string, in ASCII: no line break of any kind is left in it."""
    return encode_basestring_ascii(text).encode("ascii")


def status_json(state: TaskState, at: float, message: bytes | None) -> bytes:
    """Return a status as version 1.0 writes it."""
    said = b"" if message is None else b',"message":' + message
    return b'{"state":"%s","timestamp":"%s"%s}' % (state.value.encode(), timestamp(at).encode(), said)


def parse_timestamp(text: str) -> float:
    """Return the point in time that ISO 8601 text names, seconds since the epoch.

    Raises:
        ValueError: it names none.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class TaskRecord:
    """One task. Messages, artifacts and the status are JSON as version 1.0 writes them, each made once.

    Invariant: `size_bytes` is the sum of the sizes of those pieces.
    """

    __slots__ = (
        "_doc",
        "_status",
        "alive_at",
        "artifacts",
        "context_id",
        "created_at",
        "head",
        "history",
        "id",
        "last_seq",
        "metadata",
        "owner",
        "push",
        "rest_spelling",
        "size_bytes",
        "state",
        "status_message",
        "turn",
        "updated_at",
    )

    def __init__(self, task_id: str, context_id: str, owner: str, *, metadata: dict[str, Any] | None = None) -> None:
        self.id = task_id
        self.context_id = context_id
        self.owner = owner
        self.head = b'{"id":%s,"contextId":%s,"status":' % (json_string(task_id), json_string(context_id))
        self.metadata = metadata
        # A tuple of bytes is nothing to the garbage collector, unlike a list.
        self.history: tuple[bytes, ...] = ()
        self.artifacts: dict[str, bytes] = {}
        self.push: Mapping[str, tuple[TaskPushNotificationConfig, int]] = _NO_PUSH
        """Push configurations by their id, each with the spelling in which it was set and is to be posted to."""
        self.rest_spelling: int | None = None
        """How a client of 0.3 over HTTP+JSON wrote the message that began the task."""
        self.turn = 0
        """How many traces the task has had."""
        self.last_seq = 0
        """The number of the last event of its streams, once the task is settled."""
        self.size_bytes = 0
        self.created_at = self.updated_at = self.alive_at = time.time()
        """When it was made, when its status changed, and when a store last heard of whoever works on it."""
        self.state = TaskState.SUBMITTED
        self.status_message: bytes | None = None
        self._status: bytes | None = None
        self._doc: bytes | None = None

    @property
    def status(self) -> bytes:
        """The status, made when it is asked for: most are passed through unseen."""
        if self._status is None:
            self._status = status_json(self.state, self.updated_at, self.status_message)
        return self._status

    def set_push(self, config: TaskPushNotificationConfig, spelling: int) -> None:
        """Add a push configuration, or replace the one of its id."""
        self.push = {**self.push, config.id: (config, spelling)}

    def drop_push(self, config_id: str) -> bool:
        """Remove a push configuration; false if there is none."""
        if config_id not in self.push:
            return False
        self.push = {each: kept for each, kept in self.push.items() if each != config_id} or _NO_PUSH
        return True

    def restore(self, state: TaskState, at: float, message: bytes | None, seq: int) -> None:
        """Come to a state as a store has it."""
        self.set_status(state, message)
        self.updated_at, self.last_seq = at, seq

    def set_status(self, state: TaskState, message: bytes | None = None) -> None:
        """Come to a state; what the agent said last goes to the history."""
        if self.status_message is not None:
            self.add_message(self.status_message)
        # Rising strictly, so that the order of changes is the order of these.
        self.updated_at = max(time.time(), self.updated_at + 1e-6)
        self.state = state
        self.status_message = message
        self._status = None
        self.size_bytes += len(message or b"")
        self._doc = None

    def add_message(self, message: bytes) -> None:
        """Add to the history."""
        self.history = (*self.history, message)
        self.size_bytes += len(message)
        self._doc = None

    def put_artifact(self, artifact_id: str, artifact: bytes) -> None:
        """Add an artifact, or replace the one of this id."""
        self.size_bytes += len(artifact) - len(self.artifacts.get(artifact_id, b""))
        self.artifacts[artifact_id] = artifact
        self._doc = None

    def document(self, *, history_length: int | None = None, artifacts: Artifacts = "any") -> bytes:
        """Return the task as version 1.0 writes it, with at most so many of its latest messages."""
        whole = history_length is None and artifacts == "any"
        if whole and self._doc is not None:
            return self._doc
        parts = [self.head, self.status]
        if artifacts == "listed" or (artifacts == "any" and self.artifacts):
            parts += (b',"artifacts":[', b",".join(self.artifacts.values()), b"]")
        history = self.history if history_length is None else self.history[-history_length:] if history_length else ()
        if history:
            parts += (b',"history":[', b",".join(history), b"]")
        if self.metadata:
            parts += (b',"metadata":', wire_json(self.metadata))
        parts.append(b"}")
        doc = b"".join(parts)
        if whole:
            self._doc = doc
        return doc

    def stamp(self, message: Message) -> bytes:
        """Make a message one of this task, and return it as JSON."""
        message.task_id, message.context_id = self.id, self.context_id
        return message.to_wire_json()


def trace_id_of(record: TaskRecord) -> str:
    """Return the id of the trace that does the latest turn of a task: that of the task, for the first one."""
    return record.id if record.turn == 1 else f"{record.id}.{record.turn}"
