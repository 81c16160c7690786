"""Everything that a store knows of one trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from penguiflow.state import (
    JournalStore,
    RemoteBinding,
    RemoteBindings,
    StateStore,
    Step,
    StoredEvent,
    TraceRecord,
    UnfilledJoin,
)

__all__ = ["Look", "look_at", "record_as_json"]


@dataclass
class Look:
    """What is known of a trace; what a store cannot tell is empty."""

    trace_id: str
    events: list[StoredEvent]
    record: TraceRecord | None = None
    steps: list[Step] = field(default_factory=list)
    joins: list[UnfilledJoin] = field(default_factory=list)
    bindings: list[RemoteBinding] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Whether the store has anything of this trace."""
        return bool(self.events or self.record or self.bindings)

    @property
    def state(self) -> str:
        """How the trace stands; `unknown` where the store keeps events only."""
        return "unknown" if self.record is None else self.record.outcome.state

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON-ready data."""
        return {
            "trace_id": self.trace_id,
            "trace": None if self.record is None else record_as_json(self.record),
            "remote": [dict(binding) for binding in self.bindings],
            "unfilled_joins": [
                {"join": join.join, "turn": join.turn, "have": join.have, "need": join.need} for join in self.joins
            ],
            "steps": [
                {"message_id": step.message_id, "node_name": step.node_name, "produced": step.produced}
                for step in self.steps
            ],
            "events": [dict(event) for event in self.events],
        }


async def look_at(store: StateStore, trace_id: str, *, whole: bool = True) -> Look:
    """Ask a store for a trace; not `whole`, for what it is about only, without its events and steps."""
    look = Look(trace_id, await store.load_history(trace_id) if whole else [])
    if isinstance(store, JournalStore):
        look.record = await store.load_trace(trace_id)
        if look.record is not None:
            look.joins = await store.unfilled_joins(trace_id)
            look.steps = await store.load_steps(trace_id) if whole else []
    if isinstance(store, RemoteBindings):
        look.bindings = await store.load_remote_bindings(trace_id)
    return look


def record_as_json(record: TraceRecord) -> dict[str, Any]:
    """Return a trace without its message, which may hold what only its owner should read."""
    start, outcome = record.start, record.outcome
    return {
        "trace_id": start.trace_id,
        "flow": start.flow,
        "version": start.version,
        "state": outcome.state,
        "generation": record.generation,
        "opened_s": record.opened_s,
        "ended_s": record.ended_s,
        "deadline_s": start.deadline_s,
        "priority": start.priority,
        "pending": record.pending,
        "steps": record.steps,
        "error": outcome.error,
        "values": [{"exit": value.exit_name, "value": value.value} for value in outcome.values],
        "holders": [{"owner": holder.owner, "remaining_s": holder.remaining_s} for holder in record.holders],
    }
