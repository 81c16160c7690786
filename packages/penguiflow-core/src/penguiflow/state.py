"""Where a flow's history is kept: the StateStore protocol, and one in memory."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Protocol, runtime_checkable

from penguiflow._bounds import invalid_bound
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
    the message path; while the store is far behind, no new trace is admitted. What a call has returned for is kept:
    a store that answers before the event is safe loses history in a crash. A call that raises fails the event's
    trace with `STORE_FAILED`. Every method may be cancelled, and may then have taken effect or not.

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


class InMemoryStateStore:
    """A `StateStore` for tests and single processes: it holds the traces that were written to last, and only in memory.

    Beyond `max_traces` traces, the one that was written to longest ago is forgotten; nothing bounds the events of
    one trace. Data passes through JSON on its way in, so what works here works with a database.

    Raises:
        FlowDefinitionError: `max_traces` is not positive.
    """

    def __init__(self, *, max_traces: int = 10_000) -> None:
        if max_traces < 1:
            raise invalid_bound("max_traces", max_traces, "at least 1")
        self._max_traces = max_traces
        self._events: OrderedDict[str, list[tuple[float, str, str]]] = OrderedDict()
        self._bindings: dict[str, dict[tuple[str, str, str], None]] = {}

    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None:
        """Append an event; see `StateStore`.

        Raises:
            TypeError: `data` holds what JSON cannot.
        """
        encoded = json.dumps(data)
        self._touch(trace_id).append((ts, kind, encoded))

    async def load_history(self, trace_id: str) -> list[StoredEvent]:
        """Return the events of a trace; see `StateStore`."""
        return [
            StoredEvent(trace_id=trace_id, ts=ts, kind=kind, data=json.loads(encoded))
            for ts, kind, encoded in self._events.get(trace_id, ())
        ]

    async def save_remote_binding(self, trace_id: str, context_id: str, task_id: str, agent_url: str) -> None:
        """Note a remote task; see `StateStore`."""
        self._touch(trace_id)
        self._bindings.setdefault(trace_id, {})[context_id, task_id, agent_url] = None

    async def load_remote_bindings(self, trace_id: str) -> list[RemoteBinding]:
        """Return the remote tasks of a trace in the order in which they were saved."""
        return [
            RemoteBinding(context_id=context_id, task_id=task_id, agent_url=agent_url)
            for context_id, task_id, agent_url in self._bindings.get(trace_id, ())
        ]

    def _touch(self, trace_id: str) -> list[tuple[float, str, str]]:
        events = self._events.setdefault(trace_id, [])
        self._events.move_to_end(trace_id)
        if len(self._events) > self._max_traces:
            oldest, _ = self._events.popitem(last=False)
            self._bindings.pop(oldest, None)
        return events
