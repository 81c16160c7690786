"""A node at work: its inbox, its order, and how many traces it serves at once."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from penguiflow._runtime.blocking import BlockingQueue
from penguiflow._runtime.ranked import RankedQueue
from penguiflow._runtime.validation import Check
from penguiflow.errors import FlowError, FlowErrorCode
from penguiflow.node import Node

if TYPE_CHECKING:
    from penguiflow._runtime.context import Context
    from penguiflow._runtime.run import Run
    from penguiflow._runtime.runtime import Runtime
    from penguiflow._runtime.workers import Workers

__all__ = ["CYCLE_CAP", "ORDINARY", "URGENT", "Edge", "Gate", "Station"]

CYCLE_CAP = 1024
"""How many messages of one trace may wait at one node on edges of a cycle, where a producer cannot wait."""


ORDINARY = 1
URGENT = 2
"""The lines in which a station waits for a worker: urgent once its inbox is more than half full."""


class Edge:
    """Where a station's messages go."""

    __slots__ = ("closing", "cyclic", "station")

    def __init__(self, station: Station, *, cyclic: bool, closing: bool) -> None:
        self.station = station
        self.cyclic = cyclic
        self.closing = closing


class Gate(BlockingQueue):
    """The way into a node from outside the flow. Its bound is strict: a submission waits once the inbox is full."""

    __slots__ = ("_station",)

    def __init__(self, station: Station) -> None:
        super().__init__()
        self._station = station

    @property
    def open(self) -> bool:
        """Whether a submission would be let in at once."""
        return not self.blocked and self._station.queued < self._station.maxsize

    def offer(self, ctx: Context) -> bool:
        """Take a message if the inbox is below its bound."""
        return self._station.queued < self._station.maxsize and self._station.offer(ctx)


class Station(BlockingQueue):
    """The inbox and the limits of one node.

    Invariant: while a run has messages here, `run.lanes[self]` exists. One message of a run is in `ready` at a time
    (a retry aside); its later ones wait in the lane. An ordered node's lane stays while its message runs, so the next
    one becomes ready only after it; an unordered node's next one becomes ready as soon as the first is taken, behind
    those of other traces.
    """

    __slots__ = (
        "active",
        "check_in",
        "check_out",
        "edges",
        "far",
        "func",
        "gate",
        "index",
        "limit",
        "lined",
        "maxsize",
        "name",
        "node",
        "only_target",
        "ordered",
        "policy",
        "pressing",
        "queued",
        "ready",
        "runtime",
        "simple",
        "typed",
        "unwraps",
        "workers",
    )

    def __init__(self, runtime: Runtime, workers: Workers, node: Node, index: int, maxsize: int) -> None:
        super().__init__()
        self.runtime = runtime
        self.workers = workers
        self.node = node
        self.name = node.name
        self.func = node.func
        self.policy = node.policy
        self.unwraps = node.takes_payload
        self.index = index
        self.maxsize = maxsize
        self.pressing = maxsize // 2 + 1
        self.ordered = node.policy.ordered
        self.limit = min(node.policy.max_concurrency, maxsize)
        self.ready: deque[Context] | RankedQueue = deque()
        self.queued = 0
        self.active = 0
        """Invocations that run."""
        self.lined = 0
        """Whether it is in line for a worker, and in which line; an entry elsewhere is out of date."""
        self.edges: tuple[Edge, ...] = ()
        self.only_target: Station | None = None
        """The one successor of a simple station; None for an exit."""
        self.far = False
        """Whether its node runs in other processes only."""
        self.simple = False
        """Whether it is an exit or has one successor, off any cycle."""
        self.gate = Gate(self)
        self.typed = self.unwraps
        """Whether a message has to be looked at before the node gets it: validated, or unwrapped."""
        self.check_in: Check | None = None
        self.check_out: Check | None = None

    def offer(self, ctx: Context) -> bool:
        """Take a message, unless the inbox is full.

        A trace that has nothing here may enter a full inbox (up to twice the bound): one trace that fills it would
        otherwise hold up every other.
        """
        run = ctx._run
        lanes = run.lanes
        if run.fetchers is not None and run.fetchers.hand(self, ctx):
            return True
        if self not in lanes:
            if self.queued >= 2 * self.maxsize:
                return False
            lanes[self] = None
            self.queued += 1
            run.pending += 1
            if run.priority or self.queued == self.pressing:
                self._make_ready(ctx)
            else:
                self.ready.append(ctx)
                if not self.lined:
                    self.line_up()
            return True
        if self.queued >= self.maxsize:
            return False
        self.queued += 1
        self._join_lane(ctx)
        return True

    def push(self, ctx: Context) -> None:
        """Take a message from an edge of a cycle, whose producer must not wait.

        Raises:
            FlowError: `QUEUE_OVERFLOW`, the trace has `CYCLE_CAP` messages waiting here.
        """
        run = ctx._run
        lanes = run.lanes
        ctx._counted = False
        if run.fetchers is not None and run.fetchers.hand(self, ctx):
            return
        if self not in lanes:
            lanes[self] = None
            run.pending += 1
            self._make_ready(ctx)
            return
        waiting = lanes[self]
        if waiting is not None and len(waiting) >= CYCLE_CAP:
            raise FlowError(
                run.trace_id,
                self.name,
                FlowErrorCode.QUEUE_OVERFLOW,
                f"{CYCLE_CAP} messages of the trace wait here on a cycle; let the loop send fewer at a time",
            )
        self._join_lane(ctx)

    def has_room(self, run: Run) -> bool:
        """Say whether `offer` would take a message of this run."""
        return self.queued < (self.maxsize if self in run.lanes else 2 * self.maxsize)

    def _make_ready(self, ctx: Context) -> None:
        ready = self.ready
        if ctx._run.priority and type(ready) is deque:
            ready = self.ready = RankedQueue(ready, patience=self.maxsize)
        ready.append(ctx)
        if self.lined == ORDINARY and self.queued == self.pressing:
            # It gets a better place; the one it has is skipped when it comes up.
            self.lined = 0
        self.line_up()

    def line_up(self) -> None:
        """Ask for a worker, once, unless as many work here as may."""
        if self.lined or self.active >= self.limit:
            return
        workers = self.workers
        if self.queued >= self.pressing:
            self.lined = URGENT
            workers.urgent.append(self)
        else:
            self.lined = ORDINARY
            workers.runnable.append(self)
        if not workers.hot:
            workers.wake()

    def _join_lane(self, ctx: Context) -> None:
        run = ctx._run
        run.pending += 1
        waiting = run.lanes[self]
        if waiting is None:
            run.lanes[self] = deque((ctx,))
        else:
            waiting.append(ctx)

    def take(self) -> Context | None:
        """Hand out the next message to a worker, which has to close it with `end`; None when there is none."""
        ready = self.ready
        if not ready:
            return None
        ctx = ready.popleft()
        self.active += 1
        if ready:
            # As line_up does, without its checks: it is in no line, and the worker that asks is awake.
            if self.active < self.limit:
                if self.queued > self.pressing:
                    self.lined = URGENT
                    self.workers.urgent.append(self)
                else:
                    self.lined = ORDINARY
                    self.workers.runnable.append(self)
        elif type(ready) is not deque:
            self.ready = deque()
        if not self.ordered:
            self._advance(ctx._run)
        if ctx._counted:
            self.queued -= 1
            if self.blocked or self.gate.blocked:
                self.let_in()
        return ctx

    def take_waiting(self, run: Run) -> Context | None:
        """Hand out the run's next waiting message, past the one that runs; see `Context.fetch`."""
        waiting = run.lanes.get(self)
        if waiting:
            ctx = waiting.popleft()
        elif self.ordered or self not in run.lanes:
            return None if run not in self.blocked else self._take_blocked(run)
        else:
            found = self._remove_ready(run)
            if not found:
                return None
            ctx = found[0]
            self.ready.extend(found[1:])
            if not found[1:]:
                del run.lanes[self]
        if ctx._counted:
            self.queued -= 1
            self.let_in()
        return ctx

    def _take_blocked(self, run: Run) -> Context | None:
        """Take a message from a producer of the run that waits for room here."""
        for blocked in tuple(self.blocked.get(run, ())):
            self.forget(blocked)
            if not blocked.future.done():
                run.pending += 1
                blocked.ctx._counted = False
                blocked.resolve(True)
                return blocked.ctx
        return None

    def put_back(self, ctx: Context) -> None:
        """Put a message in again that was handed out: a retry after its back-off, or what a fetch gave up.

        It has been counted as work of its run all along.
        """
        lanes = ctx._run.lanes
        if self.ordered or self not in lanes:
            lanes.setdefault(self, None)
            self._make_ready(ctx)
        else:
            lanes[self] = deque((ctx, *(lanes[self] or ())))

    def return_waiting(self, ctx: Context) -> None:
        """Make a message the first of its lane again, behind the one that runs."""
        lanes = ctx._run.lanes
        if self in lanes:
            lanes[self] = deque((ctx, *(lanes[self] or ())))
        else:
            self.put_back(ctx)

    def _advance(self, run: Run) -> None:
        waiting = run.lanes.pop(self, None)
        if waiting:
            run.lanes[self] = waiting
            self._make_ready(waiting.popleft())

    def end(self, run: Run) -> None:
        """Close an invocation: the trace's next message may run, and the slot is free."""
        if self.ordered:
            waiting = run.lanes.pop(self, None)
            if waiting:
                run.lanes[self] = waiting
                self._make_ready(waiting.popleft())
            elif run in self.blocked and self.queued < 2 * self.maxsize:
                # The run has nothing here any more, so its next message may enter even a full inbox.
                self.admit_run(run)
        self.active -= 1
        if self.ready and not self.lined:
            self.line_up()
        run.pending -= 1
        if not run.pending:
            run.settle()

    def free_slot(self) -> None:
        """Give a slot up, to the next message where there is one."""
        self.active -= 1
        if self.ready:
            self.line_up()

    def purge(self, run: Run) -> None:
        """Drop everything of a run that waits here."""
        gone = self._remove_ready(run)
        gone.extend(run.lanes.get(self) or ())
        for ctx in gone:
            if ctx._counted:
                self.queued -= 1
                self.let_in()

    def _remove_ready(self, run: Run) -> list[Context]:
        waiting = list(self.ready)
        gone = [ctx for ctx in waiting if ctx._run is run]
        if gone:
            kept = deque(ctx for ctx in waiting if ctx._run is not run)
            self.ready = kept if type(self.ready) is deque else RankedQueue(kept, patience=self.maxsize)
        return gone

    def let_in(self) -> None:
        """Admit waiting producers, those within the flow before those outside."""
        while self.blocked and self.queued < self.maxsize:
            self.admit_next()
        # Below twice the bound, a run without messages here is never kept waiting: only at that edge can there be one.
        while self.queued == 2 * self.maxsize - 1 and (newcomer := self._newcomer()) is not None:
            self.admit_run(newcomer)
        gate = self.gate
        while gate.blocked and self.queued < self.maxsize:
            gate.admit_next()

    def _newcomer(self) -> Run | None:
        return next((run for run in self.blocked if self not in run.lanes), None)
