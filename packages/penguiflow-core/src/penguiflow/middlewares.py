"""What to do with the events of a flow: write them to the log, or add up what each node and each agent takes."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

from penguiflow._described import describe_without_values
from penguiflow._runtime.events import Listener
from penguiflow.metrics import FlowEvent

__all__ = ["Middleware", "NodeTiming", "NodeTimings", "RemoteTiming", "RemoteTimings", "log_flow_events"]

Middleware = Listener
"""A plain or async function of a `FlowEvent`. What it raises is logged and changes nothing; it delays no message."""

_FAILURES = frozenset(
    {"node_error", "retry", "cancel_begin", "deadline_exceeded", "budget_exceeded", "remote_call_error"}
)
# What the caller of a flow owns, and may want nobody else to read.
_PRIVATE = frozenset({"meta", "payload"})


def log_flow_events(
    logger: logging.Logger | None = None, *, level: int = logging.INFO, failure_level: int = logging.WARNING
) -> Middleware:
    """Make the middleware that writes every event as a line of the log.

    Lines go to `logger`, by default `penguiflow.events`, at `level`; failed attempts, retries, cancellations, and
    deadlines or budgets that have run out at `failure_level`. A record has, besides its text, the attributes
    `event_type`, `trace_id`, `node_name`, `attempt`, `latency_ms` and `queue_depth`, and for remote calls
    `context_id` and `task_id`. Neither payloads nor metadata are written.
    """
    target = logger if logger is not None else logging.getLogger("penguiflow.events")

    def log_event(event: FlowEvent) -> None:
        chosen = failure_level if event.event_type in _FAILURES else level
        if target.isEnabledFor(chosen):
            target.log(chosen, "%s", _line(event), extra=_attributes(event))

    return log_event


def _line(event: FlowEvent) -> str:
    parts = [event.event_type, f"trace={event.trace_id}"]
    if event.node_name is not None:
        parts.append(f"node={event.node_name}")
    if event.attempt:
        parts.append(f"attempt={event.attempt}")
    if event.latency_ms is not None:
        parts.append(f"latency_ms={event.latency_ms:.2f}")
    if event.queue_depth:
        parts.append(f"queue_depth={event.queue_depth}")
    parts.extend(
        f"{key}={value}" for key, value in event.extra.items() if key not in _PRIVATE and value not in (None, [])
    )
    if event.exception is not None:
        parts.append(f"exception={describe_without_values(event.exception)}")
    return " ".join(parts)


def _attributes(event: FlowEvent) -> dict[str, object]:
    attributes: dict[str, object] = {
        "event_type": event.event_type,
        "trace_id": event.trace_id,
        "node_name": event.node_name,
        "attempt": event.attempt,
        "latency_ms": event.latency_ms,
        "queue_depth": event.queue_depth,
    }
    for key in ("context_id", "task_id"):
        if key in event.extra:
            attributes[key] = event.extra[key]
    return attributes


@dataclass(slots=True)
class NodeTiming:
    """What one node has done so far."""

    node_name: str
    """Which node."""
    ended: int = 0
    """Calls that ended well."""
    failed: int = 0
    """Attempts that failed."""
    retried: int = 0
    """Failed attempts that were, or will be, repeated."""
    total_ms: float = 0.0
    """Time of all calls together, in milliseconds."""
    longest_ms: float = 0.0
    """Time of the longest call, in milliseconds."""

    @property
    def mean_ms(self) -> float:
        """Time of an average call, in milliseconds; 0 before the first."""
        calls = self.ended + self.failed
        return self.total_ms / calls if calls else 0.0


class NodeTimings:
    """A middleware that counts the calls of each node and adds up their time.

    Its memory grows with the number of nodes, not of messages. One object may listen to several flows of an event
    loop; nodes of the same name are then counted together.
    """

    def __init__(self) -> None:
        self._timings: dict[str, NodeTiming] = {}

    def __call__(self, event: FlowEvent) -> None:
        """Take note of an event."""
        if event.node_name is None or event.event_type not in ("node_start", "node_end", "node_error", "retry"):
            return
        timing = self._timings.setdefault(event.node_name, NodeTiming(event.node_name))
        if event.event_type == "retry":
            timing.retried += 1
        elif event.event_type == "node_end":
            timing.ended += 1
        elif event.event_type == "node_error":
            timing.failed += 1
        if event.event_type in ("node_end", "node_error"):
            timing.total_ms += event.latency_ms or 0.0
            timing.longest_ms = max(timing.longest_ms, event.latency_ms or 0.0)

    def timings(self) -> list[NodeTiming]:
        """Return one entry a node, in the order in which they were first called."""
        return list(self._timings.values())


@dataclass(slots=True)
class RemoteTiming:
    """What the calls of one remote node have taken so far."""

    node_name: str
    """Which node."""
    agent_url: str
    """Which agent it calls."""
    ended: int = 0
    """Calls that gave a result."""
    failed: int = 0
    """Calls that gave none: the agent or the connection failed, or the call was cancelled."""
    errors: Counter[str] = field(default_factory=Counter)
    """How often calls failed, by the code of the error."""
    resumed: int = 0
    """Calls that took up a task in place of sending their message."""
    total_ms: float = 0.0
    """Time of all calls together, in milliseconds."""
    longest_ms: float = 0.0
    """Time of the longest call, in milliseconds."""
    bytes_sent: int = 0
    """Size of the messages, as JSON."""
    bytes_received: int = 0
    """Size of the answers, as JSON."""
    cancelled: int = 0
    """Remote tasks that were asked to be cancelled."""
    cancel_failed: int = 0
    """Those of which the agent did not confirm it."""
    cancel_total_ms: float = 0.0
    """Time of all those cancellations together, in milliseconds."""
    cancel_longest_ms: float = 0.0
    """Time of the longest one, in milliseconds."""


class RemoteTimings:
    """A middleware that counts the calls of each remote node, and adds up their time and their bytes.

    Its memory grows with the number of nodes and of kinds of errors, not of messages. One object may listen to
    several flows of an event loop; nodes of the same name are then counted together.
    """

    def __init__(self) -> None:
        self._timings: dict[str, RemoteTiming] = {}

    def __call__(self, event: FlowEvent) -> None:
        """Take note of an event."""
        if event.node_name is None or event.event_type not in _OF_REMOTE_CALLS:
            return
        known = self._timings.get(event.node_name)
        timing = known or RemoteTiming(event.node_name, str(event.extra.get("agent_url", "")))
        self._timings[event.node_name] = timing
        if event.event_type == "core.remote_resumed":
            timing.resumed += 1
            return
        if event.event_type == "remote_call_end":
            timing.ended += 1
        else:
            timing.failed += 1
            timing.errors[str(event.extra.get("code"))] += 1
        timing.total_ms += event.latency_ms or 0.0
        timing.longest_ms = max(timing.longest_ms, event.latency_ms or 0.0)
        timing.bytes_sent += event.extra.get("bytes_sent", 0)
        timing.bytes_received += event.extra.get("bytes_received", 0)
        if "remote_cancelled" in event.extra:
            took_ms = event.extra["cancel_latency_ms"]
            timing.cancelled += 1
            timing.cancel_failed += not event.extra["remote_cancelled"]
            timing.cancel_total_ms += took_ms
            timing.cancel_longest_ms = max(timing.cancel_longest_ms, took_ms)

    def timings(self) -> list[RemoteTiming]:
        """Return one entry a node, in the order in which their first calls ended."""
        return list(self._timings.values())


_OF_REMOTE_CALLS = frozenset({"remote_call_end", "remote_call_error", "core.remote_resumed"})
