"""One journaled trace in memory: its units, steps and joins, and how many of its messages are outstanding."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace

from penguiflow._journal import (
    Claim,
    JoinPart,
    JoinState,
    Lease,
    LeaseHolder,
    Step,
    StepState,
    TraceOutcome,
    TraceRecord,
    TraceStart,
    TraceState,
    TraceValue,
    UnfilledJoin,
)
from penguiflow.types import Json

__all__ = ["JournaledTrace", "copied"]


@dataclass(slots=True)
class _Unit:
    owner: str
    epoch: int
    expires_s: float
    """By the monotonic clock."""
    released: bool = False
    done: bool = False


@dataclass(slots=True)
class _Join:
    need: int
    parts: list[JoinPart] = field(default_factory=list)
    fired_by: str | None = None
    seen: set[str] = field(default_factory=set)
    """The messages that came in time."""
    late: set[str] = field(default_factory=set)


class JournaledTrace:
    """One generation of a trace; whoever calls has checked the lease."""

    def __init__(self, start: TraceStart, generation: int, opening: int) -> None:
        self.start = replace(
            start,
            message=_copy(start.message),
            graph={node: tuple(successors) for node, successors in start.graph.items()},
            entries=tuple(start.entries),
        )
        self.generation = generation
        self.opening = opening
        self.state: TraceState = "running"
        self.opened_s = time.time()
        self.ended_s: float | None = None
        self.steps: dict[str, Step] = {}
        self.started: dict[str, int] = {}
        self._pending = len(start.entries)
        self._error: dict[str, Json] | None = None
        self._units: dict[str, _Unit] = {}
        self._joins: dict[tuple[str, int], _Join] = {}
        self._values: dict[str, TraceValue] = {}
        self._reopened: set[str] = set()

    def claim(self, unit: str, *, owner: str, lease_s: float, force: bool) -> Claim:
        """Take a unit; see `JournalStore.claim`."""
        if self.state != "running":
            return Claim(None, self.state)
        held = self._units.get(unit)
        now = time.monotonic()
        if held is not None and held.done:
            return Claim(None, self.state, finished=True)
        if held is not None and not force and held.owner != owner and not held.released and held.expires_s > now:
            return Claim(None, self.state, held.owner, held.expires_s - now)
        epoch = held.epoch + 1 if held else 1
        self._units[unit] = _Unit(owner, epoch, now + lease_s)
        return Claim(Lease(self.start.trace_id, self.generation, unit, owner, epoch), self.state, owner, lease_s)

    def holds(self, lease: Lease) -> bool:
        """Whether nobody claimed the unit after this lease."""
        unit = self._units.get(lease.unit)
        return unit is not None and lease.generation == self.generation and unit.epoch == lease.epoch

    def extend(self, lease: Lease, lease_s: float) -> bool:
        """Keep a lease that holds; false where it was released."""
        unit = self._units[lease.unit]
        if unit.released:
            return False
        unit.expires_s = time.monotonic() + lease_s
        return True

    def release(self, lease: Lease, *, done: bool) -> None:
        """Give up a lease that holds."""
        unit = self._units[lease.unit]
        unit.released = True
        unit.done = unit.done or done

    def is_given_up(self) -> bool:
        """Whether the first unit was released."""
        return self._units[""].released

    def holders(self) -> tuple[LeaseHolder, ...]:
        """Return who holds the first unit, where the trace is running and that is not done."""
        unit = self._units.get("")
        if unit is None or unit.done or self.state != "running":
            return ()
        remaining_s = 0.0 if unit.released else max(0.0, unit.expires_s - time.monotonic())
        return (LeaseHolder(self.start.trace_id, self.generation, unit.owner, remaining_s),)

    def record_step(self, step: Step) -> StepState:
        """Write a step down, once."""
        recorded = self.steps.get(step.message_id)
        if recorded is not None:
            return StepState(copied(recorded), False, self._pending)
        recorded = copied(step)
        self.steps[step.message_id] = recorded
        for value in recorded.values:
            self._values.setdefault(value.value_id, value)
        self._pending += step.produced - 1 - len(step.consumed)
        return StepState(copied(recorded), True, self._pending)

    def add_join_part(self, part: JoinPart) -> JoinState:
        """Put a part into a join, once."""
        join = self._joins.setdefault((part.join, part.turn), _Join(part.need))
        if part.message_id not in join.seen and part.message_id not in join.late:
            self._take(join, part)
        fired = join.fired_by == part.message_id
        parts = [_copied_part(given) for given in join.parts] if fired else None
        return JoinState(parts, part.message_id in join.late, self._pending)

    def _take(self, join: _Join, part: JoinPart) -> None:
        if join.fired_by is not None:
            join.late.add(part.message_id)
            self._pending -= 1
            return
        join.seen.add(part.message_id)
        if not part.flush:
            join.parts.append(_copied_part(part))
        if part.flush or len(join.parts) >= part.need:
            join.fired_by = part.message_id
        else:
            self._pending -= 1

    def unfilled_joins(self) -> list[UnfilledJoin]:
        """Return the joins that have parts and have not fired."""
        waiting = ((turn, name, join) for (name, turn), join in self._joins.items() if join.fired_by is None)
        ordered = sorted(waiting, key=lambda found: found[:2])
        return [UnfilledJoin(name, turn, len(join.parts), join.need) for turn, name, join in ordered]

    def reopen(self, message_id: str) -> int:
        """Make one more message outstanding, once for each id."""
        if message_id not in self._reopened:
            self._reopened.add(message_id)
            self._pending += 1
        return self._pending

    def finish(self, outcome: TraceOutcome) -> None:
        """End the trace."""
        self._error = _copy(outcome.error)
        self.state = outcome.state
        self.ended_s = time.time()

    def outcome(self, *, with_values: bool) -> TraceOutcome:
        """Return how the trace stands."""
        values = tuple(_copied_value(value) for value in self._values.values()) if with_values else ()
        return TraceOutcome(state=self.state, error=_copy(self._error), values=values)

    def record(self, *, with_values: bool) -> TraceRecord:
        """Return what is known of the trace."""
        return TraceRecord(
            start=replace(self.start, message=_copy(self.start.message), graph=dict(self.start.graph)),
            generation=self.generation,
            outcome=self.outcome(with_values=with_values),
            pending=self._pending,
            opened_s=self.opened_s,
            ended_s=self.ended_s,
            steps=len(self.steps),
            holders=self.holders(),
        )


def copied(step: Step) -> Step:
    """Return a step that shares nothing with the one given, by way of JSON."""
    values = tuple(_copied_value(value) for value in step.values)
    return replace(step, outputs=_copy(step.outputs), values=values, consumed=tuple(step.consumed))


def _copied_value(value: TraceValue) -> TraceValue:
    return replace(value, value=_copy(value.value))


def _copied_part(part: JoinPart) -> JoinPart:
    return replace(part, value=_copy(part.value))


def _copy(value: Json) -> Json:
    return json.loads(json.dumps(value))
