"""Messages, tasks, and what happens to tasks."""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum
from typing import Any, Literal, Self, TypeAlias

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from penguiflow_a2a._protocol._base import Flag, Json, Many, Meta, WireModel

__all__ = [
    "Artifact",
    "Message",
    "Part",
    "Role",
    "StreamEvent",
    "Task",
    "TaskArtifactUpdateEvent",
    "TaskState",
    "TaskStatus",
    "TaskStatusUpdateEvent",
]


class TaskState(StrEnum):
    """Where a task stands."""

    UNSPECIFIED = "TASK_STATE_UNSPECIFIED"
    SUBMITTED = "TASK_STATE_SUBMITTED"
    WORKING = "TASK_STATE_WORKING"
    COMPLETED = "TASK_STATE_COMPLETED"
    FAILED = "TASK_STATE_FAILED"
    CANCELED = "TASK_STATE_CANCELED"
    INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
    REJECTED = "TASK_STATE_REJECTED"
    AUTH_REQUIRED = "TASK_STATE_AUTH_REQUIRED"

    @property
    def is_terminal(self) -> bool:
        """Whether a task in this state never changes again."""
        return self in _TERMINAL

    @property
    def is_interrupted(self) -> bool:
        """Whether a task in this state waits for its client."""
        return self in _INTERRUPTED

    @property
    def is_settled(self) -> bool:
        """Whether the agent does nothing for a task in this state until it is asked again: terminal or interrupted."""
        return self in _SETTLED


_TERMINAL = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED})
_INTERRUPTED = frozenset({TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED})
_SETTLED = _TERMINAL | _INTERRUPTED


class Role(StrEnum):
    """Who wrote a message."""

    UNSPECIFIED = "ROLE_UNSPECIFIED"
    USER = "ROLE_USER"
    AGENT = "ROLE_AGENT"


PartContent: TypeAlias = Literal["text", "raw", "url", "data"]


class Part(WireModel):
    """A piece of content: exactly one of `text`, `raw`, `url` and `data`."""

    text: str | None = None
    """Plain text."""
    raw: str | None = None
    """The bytes of a file in base64; `raw_bytes` decodes them."""
    url: str | None = None
    """Where a file can be fetched."""
    data: Json = None
    """Any JSON value; null counts as content where the field was given."""
    metadata: Meta | None = None
    filename: str = ""
    media_type: str = ""
    """The media type of the content; empty where none was said."""

    @property
    def content(self) -> PartContent:
        """Which of the four fields holds the content."""
        if self.text is not None:
            return "text"
        if self.raw is not None:
            return "raw"
        return "url" if self.url is not None else "data"

    @property
    def raw_bytes(self) -> bytes:
        """The bytes of `raw`; empty where there are none."""
        return base64.b64decode(self.raw or "")

    @classmethod
    def of_bytes(cls, content: bytes, *, filename: str = "", media_type: str = "") -> Self:
        """Make a part of the bytes of a file."""
        return cls(raw=base64.b64encode(content).decode(), filename=filename, media_type=media_type)

    @field_validator("raw")
    @classmethod
    def _is_base64(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            standard = value.translate(_URL_SAFE)
            base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("raw is not base64") from None
        return standard + "=" * (-len(standard) % 4)

    @field_validator("filename", "media_type", mode="before")
    @classmethod
    def _none_is_empty(cls, value: object) -> object:
        return "" if value is None else value

    @model_validator(mode="after")
    def _has_one_content(self) -> Self:
        count = (self.text is not None) + (self.raw is not None) + (self.url is not None)
        if self.data is not None or (not count and "data" in self.model_fields_set):
            count += 1
        if count != 1:
            raise ValueError("a part holds exactly one of text, raw, url and data")
        return self

    @model_serializer(mode="wrap")
    def _keep_null(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        if self.data is None and self.content == "data":
            written["data"] = None
        return written


_URL_SAFE = str.maketrans("-_", "+/")


class Message(WireModel):
    """One turn of a conversation between a client and an agent."""

    message_id: str
    """Chosen by whoever wrote the message."""
    context_id: str | None = None
    """The conversation it belongs to."""
    task_id: str | None = None
    """The task it belongs to."""
    role: Role
    parts: Many[Part] = Field(default_factory=list)
    metadata: Meta | None = None
    extensions: Many[str] = Field(default_factory=list)
    """URIs of the extensions that shaped the message."""
    reference_task_ids: Many[str] = Field(default_factory=list)
    """Other tasks that the message is about."""

    @property
    def text(self) -> str:
        """The text parts, joined by line breaks."""
        return "\n".join(part.text for part in self.parts if part.text is not None)


class Artifact(WireModel):
    """Something that an agent made for a task."""

    artifact_id: str
    """Unique within the task."""
    name: str | None = None
    description: str | None = None
    parts: Many[Part] = Field(default_factory=list)
    metadata: Meta | None = None
    extensions: Many[str] = Field(default_factory=list)

    @property
    def text(self) -> str:
        """The text parts, one after the other."""
        return "".join(part.text for part in self.parts if part.text is not None)


class TaskStatus(WireModel):
    """Where a task stands, since when, and what the agent says about it."""

    state: TaskState = TaskState.UNSPECIFIED
    message: Message | None = None
    timestamp: str | None = None
    """When the task came to this state, as ISO 8601 text that ends in `Z`."""


class Task(WireModel):
    """A piece of work that an agent does for a client."""

    id: str
    context_id: str = ""
    status: TaskStatus
    artifacts: Many[Artifact] = Field(default_factory=list)
    history: Many[Message] = Field(default_factory=list)
    """The messages of the task, oldest first."""
    metadata: Meta | None = None


class TaskStatusUpdateEvent(WireModel):
    """A task came to another state."""

    task_id: str
    context_id: str = ""
    status: TaskStatus
    metadata: Meta | None = None


class TaskArtifactUpdateEvent(WireModel):
    """A task has a new artifact, or more of one."""

    task_id: str
    context_id: str = ""
    artifact: Artifact
    append: Flag = False
    """The parts come after those that the artifact of this id has."""
    last_chunk: Flag = False
    """Nothing more comes for this artifact."""
    metadata: Meta | None = None


StreamEvent: TypeAlias = Task | Message | TaskStatusUpdateEvent | TaskArtifactUpdateEvent
"""What a stream is made of, and what answers a message: the first two only."""
