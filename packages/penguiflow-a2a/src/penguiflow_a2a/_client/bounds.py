"""How long an agent may take, and how much it may send."""

from __future__ import annotations

from dataclasses import dataclass, fields

from penguiflow import FlowDefinitionError

__all__ = ["A2ATimeouts", "AnswerLimits"]


@dataclass(frozen=True, kw_only=True, slots=True)
class A2ATimeouts:
    """How long a transport waits, in seconds, and how often it tries again.

    The deadline of a trace and `NodePolicy.timeout_s` hold beside these.

    Raises:
        FlowDefinitionError: a time is not positive, or a count is negative.
    """

    connect_s: float = 5.0
    """To connect, and to get a connection of the client's pool."""
    request_s: float = 30.0
    """For the whole answer to a short request: a card, a task, a cancellation. Also for the rest of an event of a
    stream, once its first bytes are there."""
    idle_s: float = 60.0
    """Without a byte on a stream; heartbeats count as bytes."""
    call_s: float = 3600.0
    """For a whole call, from its message to its result."""
    cancel_s: float = 2.0
    """To learn of, and to cancel, the task of a call that is cancelled before the agent has named it."""
    poll_s: float = 2.0
    """The longest pause between two questions for a task, where an agent does not stream."""
    retries: int = 3
    """How often a request is tried again, and a stream taken up again that brings nothing new."""
    backoff_s: float = 0.2
    """Before the first retry; doubled for each further one."""
    retry_after_s: float = 30.0
    """The longest `Retry-After` of an agent that is followed; a longer one fails the call."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "retries":
                if value < 0:
                    raise FlowDefinitionError(f"retries={value!r} is not usable: it must be 0 or more")
            elif not value > 0:
                raise FlowDefinitionError(f"{each.name}={value!r} is not usable: it must be above 0, in seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerLimits:
    """How much an agent may send; what goes above ends the call with `AnswerTooLarge`.

    Raises:
        FlowDefinitionError: a limit is not positive.
    """

    card_bytes: int = 1 << 20
    """An agent card."""
    answer_bytes: int = 32 << 20
    """One answer that is no stream, and what the artifacts of one task amount to."""
    event_bytes: int = 8 << 20
    """One event of a stream."""
    stream_bytes: int = 1 << 30
    """All that is read of the streams of one call."""
    brackets: int = 200_000
    """Objects and lists in one answer or event; they take far more room in memory than on the wire."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not value > 0:
                raise FlowDefinitionError(f"{each.name}={value!r} is not usable: it must be at least 1")
