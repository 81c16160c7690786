"""One run of one trace id: everything that is kept for it, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections import deque
from typing import TYPE_CHECKING, Any

from penguiflow._runtime.blocking import Blocked
from penguiflow._runtime.chunks import Chunks
from penguiflow._runtime.context import Context
from penguiflow._runtime.fetchers import Fetchers
from penguiflow._runtime.joins import FLUSH, Buckets
from penguiflow._runtime.station import Station
from penguiflow._runtime.timers import Timer
from penguiflow._runtime.unseen import Unseen
from penguiflow.errors import FlowError, FlowErrorCode
from penguiflow.types import Message, Payload

if TYPE_CHECKING:
    from penguiflow._runtime.caller_slot import CallerSlot
    from penguiflow._runtime.invocation import Invocation
    from penguiflow._runtime.runtime import Runtime
    from penguiflow._runtime.unit import Ending

__all__ = ["RESULTS_CAP", "Run"]

RESULTS_CAP = 10_000
"""How many values one trace may give before it fails with QUEUE_OVERFLOW: they are all kept until it ends."""


class Run:
    """The state of one trace from submission to its end.

    An id may be used again once its run has ended; the object itself is the generation: late work holds a reference
    to its own run, finds it done and is dropped.

    Invariant: `pending` counts what can still produce something, that is messages queued, running, in back-off or
    waiting for room. The run settles when it falls to 0.
    """

    __slots__ = (
        "admitted",
        "buckets",
        "budget_spent",
        "caller_slot",
        "chunks",
        "context",
        "deadline",
        "deadline_s",
        "deadline_timer",
        "done",
        "emitted",
        "error",
        "fetchers",
        "hops_left",
        "key",
        "lanes",
        "message",
        "parent",
        "pending",
        "playbooks",
        "priority",
        "reply_to",
        "results",
        "running",
        "runtime",
        "scope",
        "timers",
        "tokens_left",
        "told",
        "trace_id",
        "unit",
        "unseen",
        "waiters",
    )

    def __init__(self, runtime: Runtime, trace_id: str, message: Message | None, *, emitted: bool) -> None:
        self.runtime = runtime
        self.trace_id = trace_id
        self.message = message
        """The message that started the run; None where that was a bare payload."""
        self.priority = 0 if message is None else message.headers.priority
        self.emitted = emitted
        """Whether its values go to `fetch()` instead of to a `Trace`."""
        self.context = contextvars.copy_context()
        self.pending = 0
        self.lanes: dict[Station, deque[Context] | None] = {}
        self.running: set[Invocation] | None = None
        """Invocations that are suspended; one that never awaits can be interrupted by nobody."""
        self.results: list[tuple[str, Payload]] = []
        self.done = False
        """Whether it has ended, so that nothing more may happen in it."""
        self.told = False
        """Whether whoever waits knows; later than `done` only where the end is written down first."""
        self.unit: Ending | None = None
        """What a store knows of it; None where nothing is written down."""
        self.key = trace_id
        """Under which it is active."""
        self.reply_to: str | None = None
        self.error: FlowError | None = None
        self.unseen: Unseen | None = None
        self.waiters: list[asyncio.Future[None]] | None = None
        self.deadline: float | None = None
        """On the clock of the loop."""
        self.deadline_s: float | None = None
        """The same on the wall clock, as it travels."""
        self.deadline_timer: Timer | None = None
        self.timers: set[Timer] | None = None
        """Back-off of failed attempts."""
        self.buckets: Buckets | None = None
        self.fetchers: Fetchers | None = None
        self.chunks: Chunks | None = None
        self.parent: Run | None = None
        """The run whose node called this one as a playbook; its reader gets the chunks."""
        self.caller_slot: CallerSlot | None = None
        self.scope = trace_id
        """What default stream ids begin with: unlike the trace id, its own for each subflow."""
        self.playbooks = 0
        self.admitted = 0
        """Messages that came from outside; more than one only where a trace is emitted in parts."""
        self.hops_left: int | None = None
        self.tokens_left: int | None = None
        self.budget_spent = False

    def give(self, ctx: Context, value: Payload) -> Blocked | None:
        """Add a value to what the trace gives; returns what to wait for where the reader has to catch up.

        Raises:
            FlowError: `QUEUE_OVERFLOW`, the trace gave more values than are kept.
        """
        if self.emitted:
            return self.runtime.rookery.give(ctx, value)
        self.give_named(ctx._station.name, value)
        return None

    def give_named(self, exit_name: str, value: Payload) -> None:
        """Add a value to what a submitted trace gives.

        Raises:
            FlowError: `QUEUE_OVERFLOW`, the trace gave more values than are kept.
        """
        if len(self.results) >= RESULTS_CAP:
            message = (
                f"the trace gave more than {RESULTS_CAP} values; stream them with ctx.emit_chunk, or split the trace"
            )
            raise FlowError(self.trace_id, exit_name, FlowErrorCode.QUEUE_OVERFLOW, message)
        self.results.append((exit_name, value))

    def keep(self, exit_name: str, value: Payload) -> bool:
        """Keep a value for whoever awaits the trace; false where it has to go through `give`."""
        if self.emitted or len(self.results) >= RESULTS_CAP:
            return False
        self.results.append((exit_name, value))
        return True

    def give_at_once(self, exit_name: str, value: Payload) -> None:
        """Add a value to what the trace gives, also above the bound of a reader who is behind."""
        if self.emitted:
            self.runtime.rookery.give_at_once(self, exit_name, value)
        else:
            self.results.append((exit_name, value))

    def open_chunks(self) -> Chunks:
        """Return where the chunks of the trace go."""
        if self.chunks is None:
            self.chunks = Chunks(self.trace_id, self.runtime.queue_maxsize)
            if self.told:
                self.chunks.close()
        return self.chunks

    def settle(self) -> None:
        """End the run, because nothing of it is left to do; an unfilled join decides how."""
        if self.done or self.pending:
            return
        if self.fetchers is not None and self.fetchers.exhausted():
            return
        if self.unit is not None:
            self.unit.settled()
            return
        if self.buckets is None:
            self.finish(None)
            return
        try:
            unfilled = self.buckets.unfilled(self)
        except FlowError as error:
            self.finish(error)
            return
        if unfilled is None:
            self.finish(None)
        else:
            join, turn = unfilled
            join.push(Context(self, join, FLUSH, turn, None))

    def fail(self, error: FlowError) -> None:
        """End the run with an error; the first one counts."""
        if not self.done:
            error.partial = list(self.results)
            self.finish(error)

    def expire(self) -> None:
        """End the run because its deadline has passed."""
        if self.done:
            return
        events = self.runtime.events
        if events is not None:
            events.post("deadline_exceeded", self)
        message = "the deadline of the trace passed before it ended; pass a later deadline_s, or do less"
        self.fail(FlowError(self.trace_id, None, FlowErrorCode.DEADLINE_EXCEEDED, message))

    def finish(self, error: FlowError | None) -> None:
        """End the run: stop what is left of it and tell those who wait, once its end is written down if it must be."""
        self.done = True
        self.error = error
        if self.deadline_timer is not None:
            self.deadline_timer.cancel()
            self.deadline_timer = None
        if error is not None:
            self._unwind()
        if self.unit is None:
            self.tell()
        else:
            self.unit.ended()

    def tell(self) -> None:
        """Tell those who wait that the run has ended, and free its id."""
        if self.told:
            return
        self.told = True
        runtime, error = self.runtime, self.error
        if runtime.active.get(self.key) is self:
            del runtime.active[self.key]
        if runtime.empty is not None and not runtime.active:
            runtime.empty.set()
        if error is not None:
            self.unseen = None if self.emitted or self.is_part else Unseen(error)
        if self.chunks is not None and self.parent is None and not self.is_part:
            self.chunks.close()
        if self.emitted and error is not None:
            runtime.rookery.failed(self, error)
        if self.waiters is not None:
            for waiter in self.waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self.waiters = None
        self.buckets = self.fetchers = None

    @property
    def is_part(self) -> bool:
        """Whether it is one unit of a trace that somebody else awaits, so that neither chunks nor errors end here."""
        return self.key != self.trace_id

    @property
    def follower(self) -> Run | None:
        """What follows the trace where another process has taken it over; None otherwise, and once that has ended."""
        return None if self.unit is None or self.told else self.unit.follower

    def note_seen(self) -> None:
        """Note that somebody was told of the run's error."""
        if self.unseen is not None:
            self.unseen.seen = True

    def _unwind(self) -> None:
        if self.timers is not None:
            for timer in self.timers:
                timer.cancel()
            self.timers = None
        # Producers first: room that the purge makes must not let this run's own messages in.
        for queue in self.runtime.queues():
            if queue.blocked:
                queue.turn_away(self)
        for station in self.lanes:
            station.purge(self)
        self.lanes.clear()
        if self.running:
            self.runtime.unwinding[self] = self.runtime.loop.create_future()
            for invocation in tuple(self.running):
                invocation.interrupt()

    async def wait(self) -> None:
        """Return when the run has ended. Cancelling the wait changes nothing in the run."""
        if self.told:
            return
        waiter = self.runtime.loop.create_future()
        if self.waiters is None:
            self.waiters = [waiter]
        else:
            self.waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if self.waiters is not None:
                self.waiters.remove(waiter)
            raise

    def tighten_deadline(self, deadline_s: float) -> None:
        """Set the deadline, wall clock, unless an earlier one stands."""
        # So written that NaN, which a copied message may hold unvalidated, is none: it has no place among timers.
        sooner = deadline_s < math.inf if self.deadline_s is None else deadline_s < self.deadline_s
        if self.done or not sooner:
            return
        self.deadline_s = deadline_s
        runtime = self.runtime
        self.deadline = runtime.loop.time() + (deadline_s - runtime.wall_clock())
        if self.deadline_timer is not None:
            self.deadline_timer.cancel()
        self.deadline_timer = runtime.timers.at(self.deadline, self.expire)

    def ended_error(self, node_name: str | None = None) -> FlowError:
        """Say why nothing more can be emitted in this run."""
        if self.error is not None and self.error.code == FlowErrorCode.TRACE_CANCELLED:
            return self.error
        message = "the trace has ended, so nothing more can be emitted in it; await background work inside the node"
        return FlowError(self.trace_id, node_name, FlowErrorCode.TRACE_ENDED, message)

    @property
    def meta(self) -> dict[str, Any]:
        """Metadata of the message that started the run."""
        return {} if self.message is None else self.message.meta
