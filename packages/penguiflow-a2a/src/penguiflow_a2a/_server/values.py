"""Messages into what a flow takes, and what a flow gives into artifacts and status messages."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

from pydantic import BaseModel, TypeAdapter, ValidationError

from penguiflow import FinalAnswer, FlowError, PenguiFlow, ValidationFailed
from penguiflow import Message as FlowMessage
from penguiflow_a2a._outcomes import InputRequired, Rejected
from penguiflow_a2a._protocol._base import Json
from penguiflow_a2a._protocol.codecs import invalid_params
from penguiflow_a2a._protocol.tasks import Artifact, Message, Part, Role

__all__ = ["Reader", "artifact_of", "default_reader", "new_id", "said", "told", "unwrapped"]

Reader: TypeAlias = Callable[[Message], Any]
"""Turns a message of a client into the payload that the flow is given."""

_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
RESULT_METADATA = {"penguiflow": {"role": "result"}}
STREAM_METADATA = {"penguiflow": {"role": "stream"}}


def new_id() -> str:
    """Return an id that nobody can guess: a random UUID."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def default_reader(flow: PenguiFlow) -> Reader:
    """Return what reads messages for a flow, by what its entry nodes say they take.

    A node that takes a `penguiflow_a2a.types.Message` gets the whole message. One that takes a pydantic model gets it
    from the one data part, or from text that is JSON. Any other gets the JSON of a message that is one data part,
    the text of one that is all text, and the list of the parts of any other.
    """
    from penguiflow_a2a._server.entries import entry_type

    wanted = entry_type(flow)
    if isinstance(wanted, type) and issubclass(wanted, Message):
        return lambda message: message
    if isinstance(wanted, type) and issubclass(wanted, BaseModel) and not issubclass(wanted, FlowMessage):
        return lambda message: _as_model(message, wanted)
    return read_plainly


def read_plainly(message: Message) -> Json:
    """Return a message's one data part, its text, or its parts."""
    parts = message.parts
    if len(parts) == 1:
        part = parts[0]
        return part.text if part.text is not None else part.data if part.content == "data" else [part]
    return message.text if all(part.text is not None for part in parts) else parts


def _as_model(message: Message, model: type[BaseModel]) -> BaseModel:
    data = [part.data for part in message.parts if part.content == "data"]
    try:
        if len(data) == 1:
            return model.model_validate(data[0])
        return model.model_validate_json(message.text)
    except ValidationError as error:
        raise invalid_params(error, "message.parts") from None


def unwrapped(value: Any) -> Any:
    """Return a value without the flow's `Message` around it, and a `FinalAnswer` as its text."""
    value = value.payload if isinstance(value, FlowMessage) else value
    return value.text if isinstance(value, FinalAnswer) and not value.citations else value


def artifact_of(value: Any, artifact_id: str) -> Artifact | None:
    """Return a value of a flow as an artifact; None for a value that is none."""
    if value is None or isinstance(value, InputRequired | Rejected | Message):
        return None
    if isinstance(value, Artifact):
        return value
    return Artifact(artifact_id=artifact_id, name="result", parts=parts_of(value), metadata=RESULT_METADATA)


def parts_of(value: Any) -> list[Part]:
    """Return a value as parts: text as text, parts as they are, anything else as JSON."""
    if isinstance(value, str):
        return [Part(text=value)]
    if isinstance(value, Part):
        return [value]
    if isinstance(value, bytes):
        return [Part.of_bytes(value, media_type="application/octet-stream")]
    if isinstance(value, list) and value and all(isinstance(each, Part) for each in value):
        return value
    try:
        return [Part(data=_ANYTHING.dump_python(value, mode="json", by_alias=True))]
    except ValueError:
        return [Part(text=str(value))]


def said(text: str | Message) -> Message:
    """Return what an agent says as a message of the agent."""
    if isinstance(text, Message):
        return text.model_copy(update={"role": Role.AGENT, "message_id": text.message_id or new_id()})
    return Message(message_id=new_id(), role=Role.AGENT, parts=[Part(text=text)])


def told(error: FlowError) -> str:
    """Return what a client is told of a failure: never the text of an exception that a node raised."""
    if isinstance(error, ValidationFailed) and error.stage == "in":
        return error.message
    if error.original_exc is not None or error.node_name is not None:
        return f"The task failed ({error.code})."
    return f"{error.message} ({error.code})"
