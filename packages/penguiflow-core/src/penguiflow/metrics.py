"""The one event vocabulary: what middlewares, `on_event` and a state store are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from penguiflow._described import describe

__all__ = ["FLOW_EVENT_TYPES", "FlowEvent", "FlowEventType"]

FlowEventType: TypeAlias = Literal[
    "node_start",
    "node_end",
    "node_error",
    "retry",
    "emit",
    "fetch",
    "stream_chunk",
    "cancel_begin",
    "cancel_end",
    "deadline_exceeded",
    "budget_exceeded",
    "remote_call_start",
    "remote_call_end",
    "remote_call_error",
]

FLOW_EVENT_TYPES: tuple[FlowEventType, ...] = FlowEventType.__args__  # type: ignore[attr-defined]
"""The shared vocabulary. A package adds kinds of its own as `<package>.<name>`: core gives `core.join_late`."""


@dataclass(slots=True)
class FlowEvent:
    """One thing that happened in a flow.

    Events of one trace arrive in the order in which they happened. `extra` holds what belongs to one type only; it
    never holds a payload or metadata.
    """

    event_type: str
    """What happened; see `FLOW_EVENT_TYPES`."""
    ts: float
    """When, seconds since the epoch."""
    trace_id: str
    """In which trace."""
    node_name: str | None = None
    """At which node; None for what concerns the whole trace."""
    attempt: int = 0
    """Which attempt of the node, from 0."""
    latency_ms: float | None = None
    """For node_end, node_error and the remote_call events: how long it took, in milliseconds."""
    queue_depth: int = 0
    """How many messages wait at the node."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What belongs to this type: `targets`, `code`, `delay_s`, `context_id`, `task_id`, …"""
    exception: BaseException | None = field(default=None, repr=False)
    """For node_error and retry: the exception."""

    def to_payload(self) -> dict[str, Any]:
        """Return the event as JSON-ready data, the exception as its class name and text."""
        data: dict[str, Any] = {
            "event_type": self.event_type,
            "ts": self.ts,
            "trace_id": self.trace_id,
            "node_name": self.node_name,
            "attempt": self.attempt,
            "latency_ms": self.latency_ms,
            "queue_depth": self.queue_depth,
            **self.extra,
        }
        if self.exception is not None:
            data["exception"] = describe(self.exception)
        return data
