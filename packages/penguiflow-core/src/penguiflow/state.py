"""Where a flow's history is kept: the StateStore protocol, and one in memory."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from penguiflow._journal import (
    Claim,
    EventBatches,
    JoinPart,
    JoinState,
    JournalStore,
    Lease,
    LeaseHolder,
    Pruning,
    RemoteBinding,
    RemoteBindings,
    Step,
    StepState,
    StoredEvent,
    TraceListing,
    TraceOutcome,
    TraceRecord,
    TraceStart,
    TraceState,
    TraceValue,
    UnfilledJoin,
)
from penguiflow._memory_store import InMemoryStateStore

__all__ = [
    "Claim",
    "EventBatches",
    "InMemoryStateStore",
    "JoinPart",
    "JoinState",
    "JournalStore",
    "Lease",
    "LeaseHolder",
    "Pruning",
    "RemoteBinding",
    "RemoteBindings",
    "StateStore",
    "Step",
    "StepState",
    "StoredEvent",
    "TraceListing",
    "TraceOutcome",
    "TraceRecord",
    "TraceStart",
    "TraceState",
    "TraceValue",
    "UnfilledJoin",
]


@runtime_checkable
class StateStore(Protocol):
    """Keeps the events of traces, and which remote tasks belong to them.

    A flow calls `save_event` for one event at a time, in the order in which things happened, and waits for it off
    the message path; while the store is far behind, no new trace is admitted. What a call has returned for is kept,
    at once or, where a store says so, within a time that it states; its own reads see it at once. A call that raises
    fails the event's trace with `STORE_FAILED`. Every method may be cancelled, and may then have taken effect or not.

    Several flows, in one process or many, may share a store. An implementation belongs to the event loop it is first
    used in, unless it says otherwise.
    """

    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None:
        """Append an event to the history of a trace.

        `ts` is in seconds since the epoch and need not rise: the order of the calls counts. `data` holds what JSON
        can hold. The caller may change it afterwards, so an implementation copies or encodes it before it returns.
        """
        ...

    async def load_history(self, trace_id: str) -> list[StoredEvent]:
        """Return the events of a trace in the order in which they were saved; empty for one that is not known."""
        ...

    async def save_remote_binding(self, trace_id: str, context_id: str, task_id: str, agent_url: str) -> None:
        """Note that a task of a remote agent works for a trace. The same binding saved again changes nothing."""
        ...
