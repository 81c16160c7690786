"""What is stuck, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from penguiflow.bus import DeadLetter
from penguiflow.state import StoredEvent, TraceRecord, UnfilledJoin
from penguiflow_cli._screen import duration
from penguiflow_cli._timeline import timeline

__all__ = ["Finding", "Severity", "Suspect", "diagnose", "of_letters", "trace_of"]

Severity: TypeAlias = Literal["stuck", "waiting"]
"""`stuck` does not go on by itself; `waiting` may."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or may be."""

    severity: Severity
    subject: str
    """The trace or the queue."""
    code: str
    """A stable name of the problem."""
    problem: str
    """What was found."""
    advice: str
    """What to do about it."""

    def as_json(self) -> dict[str, str]:
        """Return it as JSON-ready data."""
        return {
            "severity": self.severity,
            "subject": self.subject,
            "code": self.code,
            "problem": self.problem,
            "advice": self.advice,
        }


@dataclass(frozen=True, slots=True)
class Suspect:
    """A running trace, and what is known of it."""

    record: TraceRecord
    events: Sequence[StoredEvent]
    joins: Sequence[UnfilledJoin]
    letters: Sequence[DeadLetter] = ()

    @property
    def trace_id(self) -> str:
        """Which trace."""
        return self.record.start.trace_id

    def stuck(self, code: str, problem: str, advice: str) -> Finding:
        """Return a finding about this trace that needs someone to act."""
        return Finding("stuck", self.trace_id, code, problem, advice)

    def waiting(self, code: str, problem: str, advice: str) -> Finding:
        """Return a finding about this trace that may go away."""
        return Finding("waiting", self.trace_id, code, problem, advice)


def diagnose(suspect: Suspect, now: float, quiet_s: float) -> list[Finding]:
    """Return what is wrong with a running trace; one that goes on gives nothing.

    `quiet_s` is how long nothing may happen before that is worth a word.
    """
    found = [*_deadline(suspect, now), *_letters(suspect), *_owner(suspect), *_joins(suspect)]
    return found or list(_quiet(suspect, now, quiet_s))


def _deadline(suspect: Suspect, now: float) -> Iterator[Finding]:
    deadline_s = suspect.record.start.deadline_s
    if deadline_s is not None and deadline_s < now:
        yield suspect.stuck(
            "deadline_passed",
            f"its deadline passed {duration(now - deadline_s)} ago and no process has ended it",
            f"start a worker of {suspect.record.start.flow!r}, or pf cancel {suspect.trace_id}",
        )


def _letters(suspect: Suspect) -> Iterator[Finding]:
    for letter in suspect.letters:
        yield suspect.stuck(
            "dead_letter",
            f"a message of it is a dead letter of {letter.queue} after {letter.attempts} deliveries: {letter.reason}",
            f"repair the cause, then pf dlq replay {letter.queue!r} {letter.letter_id}",
        )


def _owner(suspect: Suspect) -> Iterator[Finding]:
    flow = suspect.record.start.flow
    for holder in suspect.record.holders:
        if holder.remaining_s <= 0:
            yield suspect.stuck(
                "lease_lapsed",
                f"{holder.owner or 'its owner'} has let its lease lapse and nobody has taken the trace over; "
                f"{_count(suspect.record.pending, 'message')} outstanding",
                f"start a process of flow {flow!r} with this store, or pf resume MODULE:FLOW {suspect.trace_id}",
            )


def _joins(suspect: Suspect) -> Iterator[Finding]:
    nothing_left = suspect.record.pending == 0
    for join in suspect.joins:
        have = f"join {join.join} has {join.have} of {join.need} parts"
        if nothing_left:
            yield suspect.stuck(
                "join_unfilled",
                f"{have}, and nothing is outstanding that could send more",
                f"pf resume MODULE:FLOW {suspect.trace_id} ends it as JOIN_INCOMPLETE; lower k, or mend the branch",
            )
    if nothing_left and not suspect.joins:
        yield suspect.stuck(
            "not_ended",
            "nothing is outstanding, and no process has written down its end",
            f"pf resume MODULE:FLOW {suspect.trace_id}",
        )


def _quiet(suspect: Suspect, now: float, quiet_s: float) -> Iterator[Finding]:
    last_s = max((event["ts"] for event in suspect.events), default=suspect.record.opened_s)
    if now - last_s < quiet_s:
        return
    since = f"nothing has happened for {duration(now - last_s)}"
    running = [entry for entry in timeline(suspect.events) if entry.outcome == "running"]
    for entry in running:
        yield suspect.waiting(
            "node_running",
            f"{since}: node {entry.node}, attempt {entry.attempt}, has been at work for {duration(now - entry.ts)}",
            f"give {entry.node!r} a timeout_s; pf cancel {suspect.trace_id} stops it",
        )
    waits = "".join(f", join {join.join} has {join.have} of {join.need} parts" for join in suspect.joins)
    if not running:
        yield suspect.stuck(
            "messages_unclaimed",
            f"{since}, {_count(suspect.record.pending, 'message')} outstanding and no node runs{waits}",
            f"start a worker for the nodes of flow {suspect.record.start.flow!r} that none runs: pf worker MODULE:FLOW",
        )


def of_letters(letters: Iterable[DeadLetter], accounted: Mapping[str, Sequence[DeadLetter]]) -> list[Finding]:
    """Return a finding for each queue with dead letters that belong to no running trace."""
    known = {(letter.queue, letter.letter_id) for some in accounted.values() for letter in some}
    queues: dict[str, list[DeadLetter]] = {}
    for letter in letters:
        if (letter.queue, letter.letter_id) not in known:
            queues.setdefault(letter.queue, []).append(letter)
    return [
        Finding(
            "stuck",
            queue,
            "dead_letters",
            f"{_count(len(dead), 'dead letter')}, the first: {dead[0].reason}",
            f"pf dlq list {queue!r}; pf dlq replay {queue!r} --all",
        )
        for queue, dead in queues.items()
    ]


def trace_of(message: Any) -> str | None:
    """Return the trace that a message belongs to, where it says."""
    trace_id = message.get("trace_id") if isinstance(message, dict) else None
    return trace_id if isinstance(trace_id, str) else None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
