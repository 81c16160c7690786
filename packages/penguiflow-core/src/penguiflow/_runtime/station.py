"""A node at work: its inbox, its order, and how many traces it serves at once."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from penguiflow._runtime.envelope import Envelope
from penguiflow._runtime.ready import ReadyQueue
from penguiflow._runtime.validation import Check
from penguiflow.errors import FlowError, FlowErrorCode
from penguiflow.node import Node

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run
    from penguiflow._runtime.runtime import Runtime

__all__ = ["CYCLE_CAP", "Blocked", "BlockingQueue", "Edge", "Station"]

CYCLE_CAP = 1024
"""How many messages of one trace may wait at one node on edges of a cycle, where a producer cannot wait."""


class Edge:
    """Where a station's messages go."""

    __slots__ = ("closing", "cyclic", "station")

    def __init__(self, station: Station, *, cyclic: bool, closing: bool) -> None:
        self.station = station
        self.cyclic = cyclic
        self.closing = closing


class Blocked:
    """A producer that waits for room; it counts as work of its trace until it is let in or gives up."""

    __slots__ = ("envelope", "future", "lends_slot", "target")

    def __init__(self, target: BlockingQueue, envelope: Envelope, *, lends_slot: bool = False) -> None:
        self.target = target
        self.envelope = envelope
        self.lends_slot = lends_slot
        self.future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        envelope.run.pending += 1

    def resolve(self, admitted: bool) -> None:
        """Let the producer go on: its message is in, or its run has ended."""
        if not self.future.done():
            self.future.set_result(admitted)
            self.envelope.run.pending -= 1

    def withdraw(self) -> None:
        """Take the message back, because its producer gave up; without effect once it is in."""
        if not self.future.done() or self.future.cancelled():
            self.target.forget(self)
            self.future.cancel()
            run = self.envelope.run
            run.pending -= 1
            if not run.pending:
                run.settle()


class BlockingQueue:
    """Producers that wait at a full queue, in order of arrival."""

    __slots__ = ("blocked",)

    def __init__(self) -> None:
        self.blocked: deque[Blocked] = deque()

    def forget(self, blocked: Blocked) -> None:
        """Remove a waiting producer."""
        if blocked in self.blocked:
            self.blocked.remove(blocked)

    def offer(self, envelope: Envelope) -> bool:
        """Take the envelope if there is room for it."""
        raise NotImplementedError

    def admit(self) -> None:
        """Let in whoever there is room for, in order of arrival."""
        waiting = self.blocked
        for _ in range(len(waiting)):
            blocked = waiting.popleft()
            if blocked.future.done():
                continue
            if self.offer(blocked.envelope):
                blocked.resolve(True)
            else:
                waiting.append(blocked)

    def turn_away(self, run: Run) -> None:
        """Let the producers of an ended run go on; their messages are dropped."""
        kept: deque[Blocked] = deque()
        for blocked in self.blocked:
            if blocked.envelope.run is run:
                blocked.resolve(False)
            else:
                kept.append(blocked)
        self.blocked = kept


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

    def offer(self, envelope: Envelope) -> bool:
        """Take an envelope if the inbox is below its bound."""
        return self._station.queued < self._station.maxsize and self._station.offer(envelope)


class Station(BlockingQueue):
    """The inbox and the limits of one node.

    Invariant: while a run has messages here, `run.lanes[self]` exists. At most one envelope of a run is in `ready`
    at a time; its later ones wait in the lane. An ordered node's lane stays while its message runs, so the next one
    becomes ready only after it; an unordered node's next one becomes ready as soon as the first is taken, behind
    those of other traces.
    """

    __slots__ = (
        "active",
        "check_in",
        "check_out",
        "edges",
        "func",
        "gate",
        "index",
        "limit",
        "maxsize",
        "name",
        "node",
        "ordered",
        "policy",
        "queued",
        "ready",
        "runtime",
    )

    def __init__(self, runtime: Runtime, node: Node, index: int, maxsize: int) -> None:
        super().__init__()
        self.runtime = runtime
        self.node = node
        self.name = node.name
        self.func = node.func
        self.policy = node.policy
        self.index = index
        self.maxsize = maxsize
        self.ordered = node.policy.ordered
        self.limit = min(node.policy.max_concurrency, maxsize)
        self.ready = ReadyQueue(patience=maxsize)
        self.queued = 0
        self.active = 0
        """Invocations that run, and permits for those about to."""
        self.edges: tuple[Edge, ...] = ()
        self.gate = Gate(self)
        self.check_in: Check | None = None
        self.check_out: Check | None = None

    def offer(self, envelope: Envelope) -> bool:
        """Take an envelope, unless the inbox is full.

        A trace that has nothing here may enter a full inbox (up to twice the bound): one trace that fills it would
        otherwise hold up every other.
        """
        if not self.has_room(envelope.run):
            return False
        self.queued += 1
        self._enter(envelope)
        return True

    def push(self, envelope: Envelope) -> None:
        """Take an envelope from an edge of a cycle, whose producer must not wait.

        Raises:
            FlowError: `QUEUE_OVERFLOW`, the trace has `CYCLE_CAP` messages waiting here.
        """
        run = envelope.run
        waiting = run.lanes.get(self)
        if waiting is not None and len(waiting) >= CYCLE_CAP:
            raise FlowError(
                run.trace_id,
                self.name,
                FlowErrorCode.QUEUE_OVERFLOW,
                f"{CYCLE_CAP} messages of the trace wait here on a cycle; let the loop send fewer at a time",
            )
        envelope.counted = False
        self._enter(envelope)

    def _enter(self, envelope: Envelope) -> None:
        run = envelope.run
        run.pending += 1
        lanes = run.lanes
        if self not in lanes:
            lanes[self] = None
            self.ready.push(envelope)
            self.kick()
            return
        waiting = lanes[self]
        if waiting is None:
            waiting = lanes[self] = deque()
        waiting.append(envelope)
        if run.fetchers is not None:
            run.fetchers.arrived(self)

    def take(self) -> Envelope | None:
        """Hand out the next envelope; None when there is none left."""
        envelope = self.ready.pop()
        if envelope is None:
            return None
        if not self.ordered:
            self._advance(envelope.run)
        self._left(envelope)
        return envelope

    def take_waiting(self, run: Run) -> Envelope | None:
        """Hand out the run's next waiting envelope, past the one that runs; see `Context.fetch`."""
        waiting = run.lanes.get(self)
        if waiting:
            envelope = waiting.popleft()
        elif self.ordered or self not in run.lanes:
            return None
        else:
            envelope, *others = self.ready.purge(run)
            for other in others:
                self.ready.push(other)
            del run.lanes[self]
        self._left(envelope)
        return envelope

    def _left(self, envelope: Envelope) -> None:
        if envelope.counted:
            self.queued -= 1
            self.let_in()

    def retry(self, envelope: Envelope) -> None:
        """Put an envelope back that has waited out its back-off; it counts as running until it ends."""
        envelope.counted = False
        lanes = envelope.run.lanes
        if self.ordered or self not in lanes:
            lanes.setdefault(self, None)
            self.ready.push(envelope)
            self.kick()
        else:
            waiting = lanes[self]
            lanes[self] = deque((envelope,)) if waiting is None else deque((envelope, *waiting))

    def _advance(self, run: Run) -> None:
        lanes = run.lanes
        waiting = lanes.get(self)
        if waiting:
            self.ready.push(waiting.popleft())
            self.kick()
        else:
            lanes.pop(self, None)

    def kick(self) -> None:
        """Ask for a worker, unless as many work here as may."""
        if self.active < self.limit:
            self.active += 1
            workers = self.runtime.workers
            workers.runnable.append(self)
            if not workers.hot:
                workers.wake()

    def end(self, run: Run) -> None:
        """Close an invocation: the trace's next message may run, and the worker is free."""
        if self.ordered:
            self._advance(run)
        self.free_slot()
        run.pending -= 1
        if not run.pending:
            run.settle()

    def free_slot(self) -> None:
        """Give up one of the slots counted by `active`, to the next message where there is one."""
        self.active -= 1
        if len(self.ready):
            self.kick()

    def purge(self, run: Run) -> None:
        """Drop everything of a run that waits here."""
        gone = self.ready.purge(run)
        gone.extend(run.lanes.get(self) or ())
        self.queued -= sum(envelope.counted for envelope in gone)
        self.let_in()

    def has_room(self, run: Run) -> bool:
        """Say whether `offer` would take an envelope of this run."""
        return self.queued < (self.maxsize if self in run.lanes else 2 * self.maxsize)

    def let_in(self) -> None:
        """Admit waiting producers, those within the flow before those outside."""
        if self.blocked:
            self.admit()
        if self.gate.blocked:
            self.gate.admit()
