"""What a node of a served flow returns where its value is not simply the result of the task."""

from __future__ import annotations

from dataclasses import dataclass

from penguiflow_a2a.types import Message

__all__ = ["InputRequired", "Rejected"]


@dataclass(frozen=True, slots=True)
class InputRequired:
    """Ends the trace and leaves its task waiting for the client, who is told `message`.

    What the client answers is a new trace of the same task; the earlier messages stand in its `Message.meta` under
    `a2a`.
    """

    message: str | Message
    """What to ask the client."""
    is_about_auth: bool = False
    """Whether the client has to authenticate elsewhere: the task is `auth-required` in place of `input-required`."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Ends the task as rejected: the agent has decided not to do it, which is no failure."""

    message: str | Message
    """Why."""
