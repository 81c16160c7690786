"""A flow while it runs: everything between `run()` and `stop()`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence

from penguiflow._described import describe
from penguiflow._runtime.blocking import BlockingQueue
from penguiflow._runtime.events import EventHub, Listener
from penguiflow._runtime.graph import Graph
from penguiflow._runtime.invocation import GRACE_S
from penguiflow._runtime.journal import Journal
from penguiflow._runtime.posting import journaled
from penguiflow._runtime.rookery import Rookery
from penguiflow._runtime.run import Run
from penguiflow._runtime.station import Edge, Station
from penguiflow._runtime.store import StoreWriter
from penguiflow._runtime.timers import Timers
from penguiflow._runtime.validation import Check
from penguiflow._runtime.workers import Workers
from penguiflow.errors import FlowError, FlowErrorCode, FlowStopped, TraceActive, TraceCancelled
from penguiflow.policies import PolicyLike
from penguiflow.registry import ModelRegistry
from penguiflow.state import StateStore
from penguiflow.types import Message, Payload

__all__ = ["Runtime"]

# Seconds that listeners and the state store get at a stop to take what is queued for them.
_FLUSH_S = 5.0

logger = logging.getLogger("penguiflow")


class Runtime:
    """Stations, workers, timers and the traces at work, bound to one event loop.

    Made by `run()` and thrown away by `stop()`, so that a flow which runs again starts from nothing.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        queue_maxsize: int,
        registry: ModelRegistry | None,
        policies: Mapping[str, PolicyLike],
        state_store: StateStore | None,
        errors_as_values: bool,
        here: Collection[str],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue_maxsize = queue_maxsize
        self.policies = policies
        self.state_store = state_store
        self.wall_clock = time.time
        self.timers = Timers(self.loop)
        self.workers = Workers(self.loop)
        self.rookery = Rookery(queue_maxsize, errors_as_values=errors_as_values)
        self.store = None if state_store is None else StoreWriter(state_store)
        self.events: EventHub | None = None
        self.owns_events = True
        self.active: dict[str, Run] = {}
        self.accepting = True
        self.lent: int | None = None
        """How many calls have it as their playbook; None where it was not started for such calls."""
        self.empty: asyncio.Event | None = None
        """Set when the last active trace has ended, where someone waits for that."""
        self.unwinding: dict[Run, asyncio.Future[None]] = {}
        """Runs that have ended while nodes of theirs still stop; resolved when the last one has."""
        self.stations = self._build(graph, registry)
        for name, station in self.stations.items():
            station.far = name not in here
        self.entries = [self.stations[name] for name in graph.entries]
        self.journal: Journal | None = None

    def _build(self, graph: Graph, registry: ModelRegistry | None) -> dict[str, Station]:
        stations = {
            name: Station(self, self.workers, node, index, self.queue_maxsize)
            for index, (name, node) in enumerate(graph.nodes.items())
        }
        for name, station in stations.items():
            station.edges = tuple(
                Edge(stations[target], cyclic=(name, target) in graph.cyclic, closing=(name, target) in graph.closing)
                for target in graph.successors[name]
            )
            if registry is not None:
                _add_checks(station, registry)
            station.simple = not station.edges or (len(station.edges) == 1 and not station.edges[0].cyclic)
            if station.simple and station.edges:
                station.only_target = station.edges[0].station
        return stations

    def keep_journal(self, journal: Journal) -> None:
        """Record every step from now on."""
        self.journal = journal
        for station in self.stations.values():
            station.func = journaled(station)

    def start(self, listeners: list[Listener], events: EventHub | None) -> None:
        """Start what runs beside the nodes; `events` is the hub of a calling flow, used where nothing listens here."""
        if self.store is not None:
            self.store.start()
        if listeners or self.store is not None:
            self.events = EventHub(listeners, self.store)
            self.events.start()
        elif events is not None:
            self.events, self.owns_events = events, False
        if self.journal is not None:
            self.journal.start()

    def listen(self, listeners: list[Listener]) -> None:
        """Start telling listeners that were added while the flow runs."""
        if self.events is None or not self.owns_events:
            self.events, self.owns_events = EventHub(listeners, self.store), True
            self.events.start()

    def queues(self) -> Iterator[BlockingQueue]:
        """Yield every queue at which producers may wait."""
        for station in self.stations.values():
            yield station
            yield station.gate
        yield from self.rookery.queues()

    def open_run(self, trace_id: str, message: Message | None, *, emitted: bool) -> Run:
        """Begin a run under an id that is free.

        Raises:
            TraceActive: the id is in use.
        """
        if trace_id in self.active:
            raise TraceActive(trace_id)
        run = Run(self, trace_id, message, emitted=emitted)
        self.active[trace_id] = run
        if message is not None and message.deadline_s is not None:
            run.tighten_deadline(message.deadline_s)
        return run

    def open_child(self, parent: Run, value: Payload) -> Run:
        """Begin the run of a playbook, under its caller's trace id where that is free here."""
        parent.playbooks += 1
        scope = f"{parent.scope}/{parent.playbooks}"
        trace_id = scope if parent.trace_id in self.active else parent.trace_id
        message = value if isinstance(value, Message) else None
        run = self.open_run(trace_id, message, emitted=False)
        run.message = message or parent.message
        run.parent, run.scope = parent, scope
        run.chunks = parent.open_chunks()
        run.priority = max(run.priority, parent.priority)
        if parent.deadline_s is not None:
            run.tighten_deadline(parent.deadline_s)
        return run

    def cancel(self, run: Run) -> asyncio.Future[None] | None:
        """End a run with `TraceCancelled`; returns what to await for its nodes to have unwound."""
        if self.events is not None:
            self.events.post("cancel_begin", run)
        run.fail(TraceCancelled(run.trace_id))
        unwound = self.unwinding.get(run)
        if unwound is None:
            self._cancel_ended(run)
        return unwound if run.told or self.journal is None else self.journal.spawn(self._unwound(run, unwound))

    async def _unwound(self, run: Run, unwound: asyncio.Future[None] | None) -> None:
        """Wait for the nodes of a run that was cancelled, and for the store to know; not for one that hangs."""
        if unwound is not None:
            await asyncio.shield(unwound)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await run.wait()

    def note_unwound(self, run: Run) -> None:
        """Called when an invocation of an ended run has stopped."""
        if run.running or run not in self.unwinding:
            return
        unwound = self.unwinding.pop(run)
        if not unwound.done():
            unwound.set_result(None)
        if isinstance(run.error, TraceCancelled):
            self._cancel_ended(run)

    def _cancel_ended(self, run: Run) -> None:
        if self.events is not None:
            self.events.post("cancel_end", run)

    def abort(self) -> None:
        """End everything at once, because the event loop is being shut down."""
        self.accepting = False
        self.workers.closed = True
        if self.journal is not None:
            self.journal.aborted = True
        for run in tuple(self.active.values()):
            run.fail(
                FlowStopped(run.trace_id, "the event loop was shut down; stop the flow first, or use 'async with'")
            )
        self.rookery.close(FlowStopped())
        self.timers.clear()

    async def stop(self, *, drain: bool, timeout_s: float | None) -> None:
        """Finish or drop what is at work, then end workers, timers and listeners."""
        self.accepting = False
        try:
            if drain and self.active:
                self.rookery.drain()
                await self._drained(timeout_s)
        finally:
            if self.journal is not None:
                await self.journal.close()
            self.end_all()
            await self._close()

    def end_all(self) -> None:
        """End every active trace with `FlowStopped`."""
        for run in tuple(self.active.values()):
            run.fail(FlowStopped(run.trace_id, "the flow was stopped before the trace ended"))

    async def _drained(self, timeout_s: float | None) -> None:
        self.empty = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                if self.journal is not None:
                    # Traces of this process first: what other processes send back to them is still taken.
                    for run in [run for run in self.active.values() if not run.is_part]:
                        await run.wait()
                    await self.journal.close()
                if self.active:
                    await self.empty.wait()
        except TimeoutError:
            logger.warning("%d traces had not ended when the flow was stopped after %s s", len(self.active), timeout_s)

    async def _close(self) -> None:
        self.rookery.close(FlowStopped())
        # Nodes first: they were interrupted and get their grace before their tasks are cancelled again.
        unwinding = [future for future in self.unwinding.values() if not future.done()]
        if unwinding:
            await asyncio.wait(unwinding, timeout=GRACE_S)
        await self.workers.stop(GRACE_S)
        self.timers.clear()
        if self.journal is not None:
            await self.journal.stop(_FLUSH_S)
        if self.events is not None and self.owns_events:
            await self.events.stop(_FLUSH_S)
        if self.store is not None:
            await self.store.stop(_FLUSH_S)

    def log_stuck(self, node_name: str, trace_id: str) -> None:
        """Say that a node went on after it was cancelled."""
        logger.error(
            "node %r of trace %s ignored its cancellation for %s s and is left behind", node_name, trace_id, GRACE_S
        )

    def store_failed(self, run: Run, what: str, error: Exception) -> FlowError:
        """Return the error of a trace for which the state store does not do its work."""
        message = f"the state store {what}: {describe(error)}"
        return FlowError(run.trace_id, None, FlowErrorCode.STORE_FAILED, message, error)

    def crashed(self, run: Run, error: Exception) -> None:
        """Fail a run whose message the runtime itself could not handle."""
        logger.error("the runtime failed in trace %s; please report this", run.trace_id, exc_info=error)
        message = f"the runtime failed with {describe(error)}"
        run.fail(FlowError(run.trace_id, None, FlowErrorCode.NODE_EXCEPTION, message, error))

    def choose_entries(self, to: Sequence[str] | None) -> list[Station]:
        """Return the stations a message from outside goes to."""
        return self.entries if to is None else [self.stations[name] for name in to]


def _add_checks(station: Station, registry: ModelRegistry) -> None:
    validate = station.policy.validate
    if validate == "none":
        return
    models = registry.models(station.name)
    if validate in ("both", "in"):
        station.check_in = Check(models.in_model, models.in_adapter)
        station.typed = True
    if validate in ("both", "out"):
        station.check_out = Check(models.out_model, models.out_adapter)
