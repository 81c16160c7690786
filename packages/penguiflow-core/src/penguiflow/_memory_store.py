"""The state store in memory: everything a store can do, for as long as the process lives."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from penguiflow._bounds import invalid_bound
from penguiflow._journal import (
    Claim,
    JoinPart,
    JoinState,
    Lease,
    LeaseHolder,
    RemoteBinding,
    Step,
    StepState,
    StoredEvent,
    TraceOutcome,
    TraceRecord,
    TraceStart,
    TraceState,
    UnfilledJoin,
)
from penguiflow._memory_trace import JournaledTrace, copied
from penguiflow.errors import LeaseLost, TraceActive, TraceOver, TraceUnknown

__all__ = ["InMemoryStateStore"]


class _Shelf:
    """All that is kept under one trace id."""

    __slots__ = ("bindings", "events", "trace", "written_s")

    def __init__(self) -> None:
        self.events: list[tuple[int, float, str, str]] = []
        self.bindings: dict[tuple[str, str, str], None] = {}
        self.trace: JournaledTrace | None = None
        self.written_s = 0.0

    @property
    def is_running(self) -> bool:
        return self.trace is not None and self.trace.state == "running"


class InMemoryStateStore:
    """A store for tests and single processes: it holds the traces that were written to last, and only in memory.

    It can do all that a store can: batches of events, remote bindings, listing, pruning, and a journal. Beyond
    `max_traces` traces, the one that was written to longest ago is forgotten; one that a journal says is running never
    is, and nothing bounds the events of one trace. Data passes through JSON on its way in, so what works here works
    with a database. It belongs to one event loop.

    Raises:
        FlowDefinitionError: `max_traces` is not positive.
    """

    def __init__(self, *, max_traces: int = 10_000) -> None:
        if max_traces < 1:
            raise invalid_bound("max_traces", max_traces, "at least 1")
        self._max_traces = max_traces
        # A trace id is in exactly one of the two, which both lie in the order of the last write.
        self._running: OrderedDict[str, _Shelf] = OrderedDict()
        self._idle: OrderedDict[str, _Shelf] = OrderedDict()
        self._last_event = 0
        self._last_opening = 0

    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None:
        """Append an event; see `StateStore`.

        Raises:
            TypeError: `data` holds what JSON cannot.
        """
        encoded = json.dumps(data)
        self._append(trace_id, ts, kind, encoded)

    async def save_events(self, events: Sequence[StoredEvent]) -> None:
        """Append events, all or none; see `EventBatches`.

        Raises:
            TypeError: one holds what JSON cannot.
        """
        for event in events:
            json.dumps(event["data"])
        for event in events:
            await self.save_event(event["trace_id"], event["ts"], event["kind"], event["data"])

    async def load_history(self, trace_id: str) -> list[StoredEvent]:
        """Return the events of a trace; see `StateStore`."""
        shelf = self._find(trace_id)
        return [
            StoredEvent(trace_id=trace_id, ts=ts, kind=kind, data=json.loads(encoded))
            for _, ts, kind, encoded in (shelf.events if shelf else ())
        ]

    async def load_events(self, *, after: int = 0, limit: int = 1000) -> tuple[list[StoredEvent], int]:
        """Return the events of all traces; see `TraceListing`."""
        if after < 0:
            return [], self._last_event
        found = sorted(
            (number, trace_id, ts, kind, encoded)
            for trace_id, shelf in self._shelves()
            for number, ts, kind, encoded in shelf.events
            if number > after
        )[:limit]
        events = [
            StoredEvent(trace_id=trace_id, ts=ts, kind=kind, data=json.loads(encoded))
            for _, trace_id, ts, kind, encoded in found
        ]
        return events, found[-1][0] if found else after

    async def save_remote_binding(self, trace_id: str, context_id: str, task_id: str, agent_url: str) -> None:
        """Note a remote task; see `StateStore`."""
        self._touch(trace_id).bindings[context_id, task_id, agent_url] = None

    async def load_remote_bindings(self, trace_id: str) -> list[RemoteBinding]:
        """Return the remote tasks of a trace; see `RemoteBindings`."""
        shelf = self._find(trace_id)
        return [
            RemoteBinding(context_id=context_id, task_id=task_id, agent_url=agent_url)
            for context_id, task_id, agent_url in (shelf.bindings if shelf else ())
        ]

    async def prune(self, *, older_than_s: float) -> int:
        """Forget what is old; see `Pruning`."""
        before = time.time() - older_than_s
        old = [
            trace_id
            for trace_id, shelf in self._idle.items()
            if (shelf.written_s if shelf.trace is None else shelf.trace.ended_s or 0.0) <= before
        ]
        for trace_id in old:
            del self._idle[trace_id]
        return len(old)

    async def list_traces(
        self,
        *,
        state: TraceState | None = None,
        flow: str | None = None,
        older_than_s: float | None = None,
        newer_than_s: float | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[TraceRecord]:
        """Return traces, without their values; see `TraceListing`.

        Raises:
            TraceUnknown: there is no trace `after`.
        """
        now = time.time()
        traces = sorted(self._traces(), key=lambda trace: trace.opening, reverse=True)
        if after is not None:
            last = self._journaled(after)
            if last is None:
                raise TraceUnknown(after)
            traces = [trace for trace in traces if trace.opening < last.opening]
        return [
            trace.record(with_values=False)
            for trace in traces
            if (state is None or trace.state == state)
            and (flow is None or trace.start.flow == flow)
            and (older_than_s is None or trace.opened_s <= now - older_than_s)
            and (newer_than_s is None or trace.opened_s >= now - newer_than_s)
        ][:limit]

    async def open_trace(self, start: TraceStart, *, owner: str, lease_s: float) -> Lease:
        """Begin a trace; see `JournalStore`."""
        earlier = self._journaled(start.trace_id)
        if earlier is not None and earlier.state == "running":
            raise TraceActive(start.trace_id)
        generation = earlier.generation + 1 if earlier else 1
        self._last_opening += 1
        trace = JournaledTrace(start, generation, self._last_opening)
        self._touch(start.trace_id).trace = trace
        self._settle(start.trace_id)
        lease = trace.claim("", owner=owner, lease_s=lease_s, force=False).lease
        assert lease is not None
        return lease

    async def claim(
        self,
        trace_id: str,
        unit: str,
        *,
        owner: str,
        lease_s: float,
        generation: int | None = None,
        force: bool = False,
    ) -> Claim:
        """Take a unit; see `JournalStore`."""
        trace = self._journaled(trace_id)
        if trace is None or generation not in (None, trace.generation):
            return Claim(None, None)
        return trace.claim(unit, owner=owner, lease_s=lease_s, force=force)

    async def extend(self, leases: Sequence[Lease], *, lease_s: float) -> list[Lease]:
        """Keep leases; see `JournalStore`."""
        return [lease for lease in leases if not self._extended(lease, lease_s)]

    async def release(self, lease: Lease, *, done: bool) -> None:
        """Give a unit up; see `JournalStore`."""
        trace = self._journaled(lease.trace_id)
        if trace is not None and trace.holds(lease):
            trace.release(lease, done=done)

    async def unfinished(self, flow: str, *, owner: str, host: str, limit: int = 100) -> list[LeaseHolder]:
        """Return traces that may have lost their owner; see `JournalStore`."""
        running = sorted(
            (trace for trace in self._traces() if trace.state == "running" and trace.start.flow == flow),
            key=lambda trace: trace.opening,
        )
        return [
            holder
            for trace in running
            for holder in trace.holders()
            if (holder.remaining_s == 0 or holder.owner.startswith(host))
            and (holder.owner != owner or trace.is_given_up())
        ][:limit]

    async def mark_started(self, lease: Lease, message_id: str, node_name: str) -> int | None:
        """Note that a node begins; see `JournalStore`."""
        trace = self._writable(lease)
        earlier = trace.started.get(message_id)
        trace.started[message_id] = lease.epoch
        return earlier

    async def record_step(self, lease: Lease, step: Step) -> StepState:
        """Write down what an invocation came to; see `JournalStore`."""
        return self._writable(lease).record_step(step)

    async def add_join_part(self, lease: Lease, part: JoinPart) -> JoinState:
        """Put a part into a join; see `JournalStore`."""
        return self._writable(lease).add_join_part(part)

    async def unfilled_joins(self, trace_id: str) -> list[UnfilledJoin]:
        """Return the joins that have not fired; see `JournalStore`."""
        trace = self._journaled(trace_id)
        return trace.unfilled_joins() if trace else []

    async def reopen(self, lease: Lease, message_id: str) -> int:
        """Make one more message outstanding; see `JournalStore`."""
        return self._writable(lease).reopen(message_id)

    async def finish_trace(
        self, trace_id: str, outcome: TraceOutcome, *, lease: Lease | None = None, generation: int | None = None
    ) -> TraceOutcome | None:
        """End a trace; see `JournalStore`."""
        trace = self._journaled(trace_id)
        if trace is None or generation not in (None, trace.generation):
            return None
        if lease is not None and lease.generation != trace.generation:
            raise _lost(lease)
        if trace.state == "running":
            if lease is not None:
                self._writable(lease)
            self._touch(trace_id)
            trace.finish(outcome)
            self._settle(trace_id)
        return trace.outcome(with_values=True)

    async def load_trace(self, trace_id: str) -> TraceRecord | None:
        """Return what is known of a trace; see `JournalStore`."""
        trace = self._journaled(trace_id)
        return trace.record(with_values=True) if trace else None

    async def load_steps(self, trace_id: str) -> list[Step]:
        """Return the recorded steps; see `JournalStore`."""
        trace = self._journaled(trace_id)
        return [copied(step) for step in trace.steps.values()] if trace else []

    async def load_states(self, trace_ids: Collection[str]) -> dict[str, tuple[int, TraceState]]:
        """Return how traces stand; see `JournalStore`."""
        known = ((trace_id, self._journaled(trace_id)) for trace_id in trace_ids)
        return {trace_id: (trace.generation, trace.state) for trace_id, trace in known if trace}

    def _append(self, trace_id: str, ts: float, kind: str, encoded: str) -> None:
        self._last_event += 1
        self._touch(trace_id).events.append((self._last_event, ts, kind, encoded))

    def _writable(self, lease: Lease) -> JournaledTrace:
        trace = self._journaled(lease.trace_id)
        if trace is None or lease.generation != trace.generation:
            raise _lost(lease)
        if trace.state != "running":
            raise TraceOver(lease.trace_id, trace.state)
        if not trace.holds(lease):
            raise _lost(lease)
        self._touch(lease.trace_id)
        return trace

    def _extended(self, lease: Lease, lease_s: float) -> bool:
        trace = self._journaled(lease.trace_id)
        return trace is not None and trace.holds(lease) and trace.extend(lease, lease_s)

    def _find(self, trace_id: str) -> _Shelf | None:
        return self._running.get(trace_id) or self._idle.get(trace_id)

    def _journaled(self, trace_id: str) -> JournaledTrace | None:
        shelf = self._find(trace_id)
        return shelf.trace if shelf else None

    def _shelves(self) -> Iterator[tuple[str, _Shelf]]:
        yield from self._running.items()
        yield from self._idle.items()

    def _traces(self) -> Iterator[JournaledTrace]:
        return (shelf.trace for _, shelf in self._shelves() if shelf.trace is not None)

    def _touch(self, trace_id: str) -> _Shelf:
        home = self._running if trace_id in self._running else self._idle
        shelf = home.setdefault(trace_id, _Shelf())
        shelf.written_s = time.time()
        home.move_to_end(trace_id)
        self._forget()
        return shelf

    def _settle(self, trace_id: str) -> None:
        """Move a trace to where its new state belongs."""
        shelf = self._running.pop(trace_id, None) or self._idle.pop(trace_id)
        (self._running if shelf.is_running else self._idle)[trace_id] = shelf
        self._forget()

    def _forget(self) -> None:
        # The one that is being written to stays, even where running ones alone exceed the bound.
        while len(self._running) + len(self._idle) > self._max_traces and len(self._idle) > 1:
            self._idle.popitem(last=False)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(lease.trace_id, lease.unit, lease.owner, lease.epoch)
