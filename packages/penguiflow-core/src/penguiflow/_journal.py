"""What a store can do beyond the StateStore protocol: each a Protocol of its own, found by `isinstance`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, runtime_checkable

from penguiflow.types import Json

__all__ = [
    "Claim",
    "EventBatches",
    "JoinPart",
    "JoinState",
    "JournalStore",
    "Lease",
    "LeaseHolder",
    "Pruning",
    "RemoteBinding",
    "RemoteBindings",
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

TraceState: TypeAlias = Literal["running", "completed", "failed", "cancelled"]
"""How a trace stands; all but "running" are final."""


class StoredEvent(TypedDict):
    """One event as a store returns it."""

    trace_id: str
    """In which trace it happened."""
    ts: float
    """When, seconds since the epoch."""
    kind: str
    """What happened: an event type of `FlowEvent`, or `<package>.<name>`."""
    data: dict[str, Any]
    """Everything else about it, as JSON gives it back."""


class RemoteBinding(TypedDict):
    """Which task of a remote agent belongs to a trace."""

    context_id: str
    """The conversation at the remote agent; empty where it named none."""
    task_id: str
    """The task at the remote agent."""
    agent_url: str
    """Where the agent is."""


@runtime_checkable
class EventBatches(Protocol):
    """A store that takes several events in one call."""

    async def save_events(self, events: Sequence[StoredEvent]) -> None:
        """Append events, in this order and all or none, as `save_event` does each."""
        ...


@runtime_checkable
class RemoteBindings(Protocol):
    """A store that gives back what `save_remote_binding` has noted."""

    async def load_remote_bindings(self, trace_id: str) -> list[RemoteBinding]:
        """Return the remote tasks of a trace in the order in which they were saved."""
        ...


@runtime_checkable
class Pruning(Protocol):
    """A store that forgets what is old."""

    async def prune(self, *, older_than_s: float) -> int:
        """Forget traces that ended, or were last written to and never begun, so long ago; returns how many.

        A trace that is running is never forgotten. What is forgotten is gone with its events, steps and bindings.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStart:
    """What a trace begins with: enough to begin it again in another process."""

    trace_id: str
    flow: str
    """The name of the flow."""
    version: str
    """The version of the flow."""
    graph: Mapping[str, Sequence[str]]
    """The successors of each node when the trace began."""
    message: Json
    """The message it was submitted with, encoded."""
    entries: Sequence[str]
    """The nodes it was submitted to; as many messages are outstanding when it begins."""
    deadline_s: float | None = None
    """Wall clock, seconds since the epoch."""
    priority: int = 0
    reply_to: str | None = None
    """The queue on which whoever submitted it wants to be told."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for one unit of a trace; a later claim of the unit ends it.

    A unit is what one owner works on: one delivery, named by its message id, or with the empty name what begins the
    trace: all of it, for a trace that lives in one process.
    """

    trace_id: str
    generation: int
    """Which run of the trace id, from 1: an id may be used again once its trace has ended."""
    unit: str
    owner: str
    epoch: int
    """Rises with each claim of the unit."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What came of the attempt to take a unit."""

    lease: Lease | None
    """None where it was not to be had."""
    state: TraceState | None
    """How the trace stands; None where the store does not know it, or only another generation of it."""
    holder: str | None = None
    """Who holds the unit, where someone does."""
    remaining_s: float = 0.0
    """For how long, unless it is extended."""
    finished: bool = False
    """Whether the unit was released as done: nothing of it is left to do."""


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """The first unit of a running trace that is not released as done, and who holds it."""

    trace_id: str
    generation: int
    owner: str
    """The last one to claim it."""
    remaining_s: float
    """How long its lease lasts, by the clock of the store; 0 where it has lapsed or was released."""


@dataclass(frozen=True, slots=True)
class TraceValue:
    """A value that a trace gave."""

    value_id: str
    """What names it, so that it is kept once."""
    exit_name: str
    value: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one invocation of a node came to; written once."""

    message_id: str
    """The message it handled."""
    node_name: str
    outputs: Json = None
    """What it sent on, encoded; core reads it back, a store only keeps it."""
    produced: int = 0
    """How many messages are outstanding because of it."""
    values: Sequence[TraceValue] = ()
    """What it gave to the results of the trace."""
    consumed: Sequence[str] = ()
    """Further messages that it took, beside the one it handled."""


@dataclass(frozen=True, slots=True)
class StepState:
    """A recorded step as it stands: of two records of one message the first one counts."""

    step: Step
    first: bool
    """Whether it was written by this call."""
    pending: int
    """How many messages of the trace are outstanding now. At 0 nothing can produce anything more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPart:
    """A message on its way into a join."""

    message_id: str
    join: str
    """The name of the join node."""
    turn: int
    """In which turn of the loop around it."""
    need: int
    value: Json = None
    flush: bool = False
    """True for what tells a join that no further part can come: it fires with what there is, and is no part itself."""


@dataclass(frozen=True, slots=True)
class JoinState:
    """How a join stands after a part. The same part again gets the same answer, `pending` aside."""

    parts: Sequence[JoinPart] | None
    """The parts in order of arrival where this one has fired the join, else None. The part stays outstanding then:
    a step under its message id records what became of the join. A flush is not among them."""
    late: bool
    """Whether the join had fired before."""
    pending: int


@dataclass(frozen=True, slots=True)
class UnfilledJoin:
    """A join that has parts and has not fired."""

    join: str
    turn: int
    have: int
    need: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceOutcome:
    """How a trace ended."""

    state: TraceState
    error: dict[str, Any] | None = None
    """`FlowError.to_payload()` of what it failed with."""
    values: Sequence[TraceValue] = ()
    """What it gave, in order; of a failed trace, what it gave before. Filled in by the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRecord:
    """Everything about a trace but its steps and events."""

    start: TraceStart
    generation: int
    outcome: TraceOutcome
    """`state` is "running" until it has ended."""
    pending: int
    opened_s: float
    """By the clock of the store, seconds since the epoch."""
    ended_s: float | None = None
    steps: int = 0
    """How many steps are recorded."""
    holders: Sequence[LeaseHolder] = field(default_factory=tuple)
    """Who holds the first unit, where that is not done."""


@runtime_checkable
class TraceListing(Protocol):
    """A store that tells which traces there are."""

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
        """Return traces, the latest first; those after trace `after` of an earlier page.

        `older_than_s` and `newer_than_s` bound how long ago they began. A trace that only has events is not listed.
        """
        ...

    async def load_events(self, *, after: int = 0, limit: int = 1000) -> tuple[list[StoredEvent], int]:
        """Return events of all traces in the order in which they were saved, and where to go on.

        `after` is what an earlier call gave, 0 for the first one the store has, -1 for none but those to come.
        """
        ...


@runtime_checkable
class JournalStore(Protocol):
    """A store that keeps a trace alive beyond the process it runs in.

    It counts, for each trace, the messages that are outstanding: those it began with, plus what each step produced,
    less what each step took. A step is recorded once; what it sent on is then sent, as often as it takes, by whoever
    holds the unit. Times and leases go by the clock of the store, so processes need not agree on one.

    A call returns once its effect is safe. Every method may be cancelled, and may then have taken effect or not; each
    may be repeated. A store that cannot write raises; it never drops a write.

    Raises, where a lease is passed:
        LeaseLost: the unit was claimed by another since, or the trace is of a later generation; nothing was written.
        TraceOver: the trace has ended; nothing was written.
    """

    async def open_trace(self, start: TraceStart, *, owner: str, lease_s: float) -> Lease:
        """Begin a trace, with its first unit held by `owner`.

        An id whose trace has ended is begun anew, as the next generation: its earlier steps, joins and values are
        forgotten, its events stay.

        Raises:
            TraceActive: the trace is running.
        """
        ...

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
        """Take a unit that nobody holds, whose lease has lapsed or, with `force`, from whoever holds it.

        A unit that was never claimed comes into being. Of a trace that has ended, or of another `generation` than the
        one named, nothing can be claimed. An owner that holds the unit gets a new epoch, too.
        """
        ...

    async def extend(self, leases: Sequence[Lease], *, lease_s: float) -> list[Lease]:
        """Keep leases for `lease_s` seconds from now; returns those that are lost."""
        ...

    async def release(self, lease: Lease, *, done: bool) -> None:
        """Give a unit up: as done, or to be claimed by anyone at once. Without effect where the lease is lost."""
        ...

    async def unfinished(self, flow: str, *, owner: str, host: str, limit: int = 100) -> list[LeaseHolder]:
        """Return running traces of a flow whose first unit is not done and may have lost its owner, the oldest first.

        Those are the ones whose lease has lapsed, and those held by an owner whose name begins with `host`: the caller
        can tell which of its neighbours are alive. Units of `owner` itself are left out.
        """
        ...

    async def mark_started(self, lease: Lease, message_id: str, node_name: str) -> int | None:
        """Note that a node begins to handle a message; returns the epoch in which it was noted before, if it was."""
        ...

    async def record_step(self, lease: Lease, step: Step) -> StepState:
        """Write down what an invocation came to, all at once; where that was done before, return what was written."""
        ...

    async def add_join_part(self, lease: Lease, part: JoinPart) -> JoinState:
        """Put a part into a join. The one that makes it `need` parts, or flushes it, fires it, once."""
        ...

    async def unfilled_joins(self, trace_id: str) -> list[UnfilledJoin]:
        """Return the joins of a trace that have parts and have not fired, by turn and then by name."""
        ...

    async def reopen(self, lease: Lease, message_id: str) -> int:
        """Make one more message outstanding, once for each id; returns how many are."""
        ...

    async def finish_trace(
        self, trace_id: str, outcome: TraceOutcome, *, lease: Lease | None = None, generation: int | None = None
    ) -> TraceOutcome | None:
        """End a trace; the first outcome stands, and is returned with the values of the trace.

        None where the store does not know the trace, or only another `generation` of it. Without a lease anyone may
        end it: that is how a trace is cancelled from elsewhere.
        """
        ...

    async def load_trace(self, trace_id: str) -> TraceRecord | None:
        """Return what is known of a trace, with its values; None if it was never begun here."""
        ...

    async def load_steps(self, trace_id: str) -> list[Step]:
        """Return the recorded steps of a trace's latest generation in the order in which they were written."""
        ...

    async def load_states(self, trace_ids: Collection[str]) -> dict[str, tuple[int, TraceState]]:
        """Return generation and state of those traces that the store knows."""
        ...
