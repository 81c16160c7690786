"""Checks payloads against the models registered for a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from penguiflow.errors import ValidationFailed, pydantic_details
from penguiflow.registry import takes_messages
from penguiflow.types import Message, Payload

__all__ = ["Check", "make_check", "validation_failed"]

Check: TypeAlias = Callable[[Payload], Payload]
"""Takes a value, returns it validated; raises pydantic's `ValidationError`."""


def make_check(model: Any, adapter: TypeAdapter[Any]) -> Check:
    """Build the check for one side of a node.

    A `Message` is checked by its payload and stays a `Message`; where the model is `Message`, it is checked whole.
    """
    # The adapter's own validate_python costs as much again as the validator it calls.
    validate: Check = adapter.validator.validate_python
    if takes_messages(model):
        return validate

    def check(value: Payload) -> Payload:
        if not isinstance(value, Message):
            return validate(value)
        payload = validate(value.payload)
        return value if payload is value.payload else value.model_copy(update={"payload": payload})

    return check


def validation_failed(trace_id: str, node_name: str, stage: str, error: ValidationError) -> ValidationFailed:
    """Turn pydantic's error into the trace's."""
    details = pydantic_details(error.errors(include_url=False, include_input=False, include_context=False))
    return ValidationFailed(trace_id, node_name, stage, details, error)
