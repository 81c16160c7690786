"""One way to write and read the protocol for each of its spellings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from penguiflow_a2a._protocol import v03, v03_rest
from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.operations import Version
from penguiflow_a2a._protocol.requests import SendMessageRequest, TaskPushNotificationConfig
from penguiflow_a2a._protocol.tasks import (
    Message,
    StreamEvent,
    Task,
    TaskArtifactUpdateEvent,
    TaskStatusUpdateEvent,
)
from penguiflow_a2a._protocol.v03 import Wire

__all__ = ["V03", "V03_REST", "V1", "Codec", "event_from_v1", "event_to_v1", "invalid_params"]

_MEMBERS: dict[type, str] = {
    Task: "task",
    Message: "message",
    TaskStatusUpdateEvent: "statusUpdate",
    TaskArtifactUpdateEvent: "artifactUpdate",
}
_MODELS: dict[str, type[Task] | type[Message] | type[TaskStatusUpdateEvent] | type[TaskArtifactUpdateEvent]] = {
    "task": Task,
    "message": Message,
    "statusUpdate": TaskStatusUpdateEvent,
    "artifactUpdate": TaskArtifactUpdateEvent,
}


def event_to_v1(event: StreamEvent) -> Wire:
    """Return an event under the name of its kind, as 1.0 answers: `{"task": …}` and the like."""
    return {_MEMBERS[type(event)]: event.to_wire()}


def event_from_v1(wire: Any) -> StreamEvent:
    """Read what 1.0 answers: `{"task": …}` and the like.

    Raises:
        ProtocolError: it is none of the kinds there are, or not as the protocol wants it.
    """
    wire = v03.require_object(wire, "response")
    for member, model in _MODELS.items():
        if wire.get(member) is not None:
            try:
                return model.model_validate(wire[member])
            except ValidationError as error:
                raise invalid_params(error, member) from None
    raise v03.invalid("response", "expected a task, a message, a statusUpdate or an artifactUpdate")


def invalid_params(error: ValidationError, under: str = "") -> ProtocolError:
    """Return what pydantic found as an error of the protocol, without the values that were given."""
    found = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        path = ".".join(str(step) for step in ((under, *each["loc"]) if under else each["loc"]))
        found.append((path, str(each["msg"])))
    shown = "; ".join(f"{field}: {text}" for field, text in found[:3])
    return ProtocolError(ErrorKind.INVALID_PARAMS, f"Invalid parameters: {shown}", violations=found[:16])


@dataclass(frozen=True, slots=True)
class Codec:
    """A spelling of the protocol. What is read is in error as a `ProtocolError`, never as anything else.

    An answer to `send` and each event of a stream is `{"task": …}` in 1.0, and `{"kind": "task", …}` in 0.3; a bare
    task, as asked for by its id, is the same in both places.
    """

    version: Version
    event_from_wire: Callable[[Any], Wire]
    event_to_wire: Callable[[Wire], Wire]
    task_from_wire: Callable[[Any], Wire]
    task_to_wire: Callable[[Wire], Wire]
    send_from_wire: Callable[[Any], Wire]
    send_to_wire: Callable[[Wire], Wire]
    push_from_wire: Callable[[Any], Wire]
    push_to_wire: Callable[[Wire], Wire]

    def encode_event(self, event: StreamEvent) -> Wire:
        """Write what answers a message, or one event of a stream."""
        return self.event_to_wire(event_to_v1(event))

    def decode_event(self, wire: Any) -> StreamEvent:
        """Read what answers a message, or one event of a stream."""
        return event_from_v1(self.event_from_wire(wire))

    def encode_task(self, task: Task) -> Wire:
        """Write a task that was asked for by its id."""
        return self.task_to_wire(task.to_wire())

    def decode_task(self, wire: Any) -> Task:
        """Read a task that was asked for by its id."""
        try:
            return Task.model_validate(self.task_from_wire(wire))
        except ValidationError as error:
            raise invalid_params(error, "task") from None

    def encode_send(self, request: SendMessageRequest) -> Wire:
        """Write the request that sends a message."""
        return self.send_to_wire(request.to_wire())

    def decode_send(self, wire: Any) -> SendMessageRequest:
        """Read the request that sends a message."""
        try:
            return SendMessageRequest.model_validate(self.send_from_wire(wire))
        except ValidationError as error:
            raise invalid_params(error) from None

    def encode_push(self, config: TaskPushNotificationConfig) -> Wire:
        """Write a push configuration."""
        return self.push_to_wire(config.to_wire())

    def decode_push(self, wire: Any) -> TaskPushNotificationConfig:
        """Read a push configuration."""
        try:
            return TaskPushNotificationConfig.model_validate(self.push_from_wire(wire))
        except ValidationError as error:
            raise invalid_params(error) from None


def _same(wire: Any) -> Wire:
    return v03.require_object(wire, "params")


def _push_from_rest(wire: Any) -> Wire:
    name = str(wire.get("name", "")) if isinstance(wire, dict) else ""
    steps = name.split("/")
    return v03_rest.push_config_from_v03_rest(wire, steps[1] if len(steps) > 1 else "")


V1 = Codec("1.0", _same, _same, _same, _same, _same, _same, _same, _same)
"""Version 1.0, over JSON-RPC and HTTP+JSON."""
V03 = Codec(
    "0.3",
    v03.event_from_v03,
    v03.event_to_v03,
    v03.task_from_v03,
    v03.task_to_v03,
    v03.send_request_from_v03,
    v03.send_request_to_v03,
    v03.push_config_from_v03,
    v03.push_config_to_v03,
)
"""Version 0.3 over JSON-RPC, and over HTTP+JSON as its specification shows it."""
V03_REST = Codec(
    "0.3",
    v03_rest.event_from_v03_rest,
    v03_rest.event_to_v03_rest,
    v03_rest.task_from_v03_rest,
    v03_rest.task_to_v03_rest,
    v03_rest.send_request_from_v03_rest,
    v03_rest.send_request_to_v03_rest,
    _push_from_rest,
    v03_rest.push_config_to_v03_rest,
)
"""Version 0.3 over HTTP+JSON, as a2a-sdk writes it."""
