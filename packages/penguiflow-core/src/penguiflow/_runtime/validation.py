"""Checks payloads against the models registered for a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from penguiflow._described import describe
from penguiflow._runtime.kinds import MESSAGE, kind_of
from penguiflow.errors import ValidationFailed
from penguiflow.types import Message, Payload

__all__ = ["Check", "validation_failed"]


class Check:
    """Validates one side of a node.

    A `Message` is checked by its payload and stays a `Message`; where the model is `Message`, it is checked whole.
    """

    __slots__ = ("validate", "whole")

    def __init__(self, model: Any, adapter: TypeAdapter[Any]) -> None:
        # The adapter's own validate_python costs as much again as the validator it calls.
        self.validate: Callable[[Payload], Payload] = adapter.validator.validate_python
        self.whole = isinstance(model, type) and issubclass(model, Message)
        """Whether any value may be handed to `validate` as it is."""

    def __call__(self, value: Payload) -> Payload:
        """Return the value validated, or raise what the model's validators raise."""
        if self.whole or kind_of(value) is not MESSAGE:
            return self.validate(value)
        payload = self.validate(value.payload)
        return value if payload is value.payload else value.model_copy(update={"payload": payload})


def validation_failed(trace_id: str, node_name: str, stage: str, error: Exception) -> ValidationFailed:
    """Turn what a model's validators raised into the trace's error: pydantic's own, or whatever else escaped them."""
    details: list[dict[str, Any]]
    if isinstance(error, ValidationError):
        # Without the inputs, which may be large or private.
        found = error.errors(include_url=False, include_input=False, include_context=False)
        details = [{"loc": each["loc"], "msg": each["msg"], "type": each["type"]} for each in found]
    else:
        details = [{"loc": (), "msg": f"a validator raised {describe(error)}", "type": "validator_error"}]
    return ValidationFailed(trace_id, node_name, stage, details, error)
