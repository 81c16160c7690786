"""Keeps the traces of a running flow in a store, so that another process can go on with them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from penguiflow._described import describe
from penguiflow._runtime.admission import admit_nowait, admitted
from penguiflow._runtime.codec import Codec, encode_value
from penguiflow._runtime.context import Context
from penguiflow._runtime.crossing import Crossing
from penguiflow._runtime.joins import FLUSH
from penguiflow._runtime.kinds import MESSAGE, kind_of
from penguiflow._runtime.mirror import Follower, Mirror, attached, ended
from penguiflow._runtime.outcome import as_error
from penguiflow._runtime.owner import Owner
from penguiflow._runtime.resume import Reclaimer
from penguiflow._runtime.run import Run
from penguiflow._runtime.shutdown import loop_shuts_down
from penguiflow._runtime.unit import Ending, Unit
from penguiflow.bus import MessageBus
from penguiflow.errors import (
    FlowError,
    FlowErrorCode,
    FlowStopped,
    JoinIncomplete,
    LeaseLost,
    QueueFull,
    TraceCancelled,
    TraceOver,
    TraceUnknown,
)
from penguiflow.state import JournalStore, Lease, Step, TraceOutcome, TraceStart, UnfilledJoin
from penguiflow.types import Payload, new_trace_id

if TYPE_CHECKING:
    from penguiflow._runtime.graph import Graph
    from penguiflow._runtime.outbox import Sent
    from penguiflow._runtime.runtime import Runtime
    from penguiflow._runtime.station import Station
    from penguiflow.registry import ModelRegistry

__all__ = ["POLL_S", "Journal", "flush_origin"]

POLL_S = 0.25
"""Seconds between two looks at whether the traces at work here were ended elsewhere."""

logger = logging.getLogger("penguiflow")


def flush_origin(turn: int) -> tuple[None, str, int]:
    """Return the origin of what tells a join that it can no longer fill: one for each turn of a loop."""
    return None, "OpenSea/flush", turn


class Journal:
    """The traces of one running flow as its store has them: begun, recorded, leased and ended.

    Invariant: each run with an `Ending` is in `_endings` from the time the store knows of it until it has told whoever
    awaits it; what holds a lease has it extended until then.
    """

    def __init__(
        self,
        runtime: Runtime,
        store: JournalStore,
        graph: Graph,
        registry: ModelRegistry | None,
        *,
        flow: str,
        version: str,
        lease_s: float,
        resume: bool,
        bus: MessageBus | None,
    ) -> None:
        self.runtime = runtime
        self.store = store
        self.flow = flow
        self.version = version
        self.lease_s = lease_s
        self.graph = {name: list(targets) for name, targets in graph.successors.items()}
        self.codec = Codec(graph, registry)
        self.owner = Owner()
        self.has_joins = any(node.kind == "join" for node in graph.nodes.values())
        self.crossing: Crossing | None = None
        self.taking: dict[str, asyncio.Event] = {}
        """Traces that are being taken up, and what says that this is done."""
        self.crosses = False
        """Whether some nodes run in other processes only."""
        self.aborted = False
        """Whether the event loop is being shut down, so that nothing more can be written: traces stay as they are."""
        self._resume = resume
        self._opening: Counter[Station] = Counter()
        """Messages on their way into the store, and from there to an entry, that nobody waits for."""
        self._endings: set[Ending] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.Task[None]] = []
        if bus is not None:
            self.crossing = Crossing(self, bus)
            self.crosses = any(station.far for station in runtime.stations.values())

    def start(self) -> None:
        """Start extending leases, and looking for traces that were ended elsewhere or that nobody works on."""
        loops = [self._keep_leases(), self._watch()]
        if self._resume:
            loops.append(Reclaimer(self).run())
        for loop in loops:
            self._loops.append(self.runtime.loop.create_task(loop, name="penguiflow-journal"))
        if self.crossing is not None:
            self.crossing.start()

    async def close(self) -> None:
        """Take nothing on any more; what is at work goes on."""
        if self.crossing is not None:
            await self.crossing.close()

    async def stop(self, timeout_s: float) -> None:
        """Wait for what is being written down, at most `timeout_s` seconds, and end."""
        for ending in self.endings:
            # Traces that run elsewhere and were only followed from here.
            ending.run.fail(FlowStopped(ending.run.trace_id, "the flow was stopped; the trace goes on elsewhere"))
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)
        if self.crossing is not None:
            await self.crossing.stop(timeout_s)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)
        leftover = {*self._tasks, *self._loops}
        for task in leftover:
            task.cancel()
        if leftover:
            await asyncio.wait(leftover, timeout=timeout_s)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run work that ends by itself; a stop waits for it."""
        task = self.runtime.loop.create_task(work, name="penguiflow-journal")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, FlowError):
            logger.warning("flow %r: %s", self.flow, error)
        elif error is not None:
            logger.error("the journal of flow %r failed; please report this", self.flow, exc_info=error)

    # What begins

    async def submit(self, msg: Payload, entries: Sequence[Station]) -> Run:
        """Begin a trace: it is in the store before any node runs. Cancelled while it waits, the trace is cancelled.

        Raises:
            TraceActive: the id is in use, here or in another process.
            NotSerialisable: the message cannot be written down.
        """
        run = self._open_run(msg)
        start = self.describe(run, msg, entries)
        try:
            lease = await self._open_trace(run, start)
        except BaseException as error:
            self._give_up_opening(run, error)
            run.note_seen()
            raise
        await self.begin(run, lease, msg, entries)
        return run

    def submit_nowait(self, msg: Payload, entries: Sequence[Station]) -> Run:
        """Begin a trace as `submit` does, in the background; what goes wrong there fails the trace.

        Raises:
            QueueFull: as many as an entry node has room for are on their way to it.
        """
        for station in entries:
            if station.queued + self._opening[station] >= station.maxsize:
                raise QueueFull(station.name, station.maxsize, msg.trace_id if kind_of(msg) is MESSAGE else None)
        run = self._open_run(msg)
        start = self.describe(run, msg, entries)
        self._opening.update(entries)
        self.spawn(self._open(run, start, msg, entries)).add_done_callback(lambda _: self._opening.subtract(entries))
        return run

    async def _open(self, run: Run, start: TraceStart, msg: Payload, entries: Sequence[Station]) -> None:
        try:
            lease = await self._open_trace(run, start)
        except BaseException as error:
            self._give_up_opening(run, error)
            if isinstance(error, FlowError):
                return
            raise
        await self.begin(run, lease, msg, entries)

    async def _open_trace(self, run: Run, start: TraceStart) -> Lease:
        # By a task of its own: a store that is cancelled may still commit, and nobody would be told of that.
        opening = self.spawn(self._try_opening(start))
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if opening.cancelled() and task is not None and not task.cancelling():
                raise FlowStopped(run.trace_id, "the flow was stopped before the trace had begun") from None
            if not (self.aborted or loop_shuts_down()):
                self.spawn(self._take_back(opening, run.trace_id))
            raise
        if isinstance(opened, Lease):
            return opened
        if isinstance(opened, FlowError):
            raise opened
        raise self.runtime.store_failed(run, "could not begin the trace", opened) from opened

    async def _try_opening(self, start: TraceStart) -> Lease | Exception:
        try:
            return await self.store.open_trace(start, owner=self.owner.name, lease_s=self.lease_s)
        except Exception as error:
            return error

    def _open_run(self, msg: Payload) -> Run:
        message = msg if kind_of(msg) is MESSAGE else None
        run = self.runtime.open_run(new_trace_id() if message is None else message.trace_id, message, emitted=False)
        # Held until the first message is in: nothing else keeps it from looking finished.
        run.pending += 1
        if self.crossing is not None:
            run.reply_to = self.crossing.reply_queue
        return run

    def describe(self, run: Run, msg: Payload, entries: Sequence[Station]) -> TraceStart:
        """Return what the store has to know to begin the trace again."""
        try:
            encoded = encode_value(msg, trace_id=run.trace_id, node_name=None)
        except FlowError as error:
            self._give_up_opening(run, error)
            run.note_seen()
            raise
        return TraceStart(
            trace_id=run.trace_id,
            flow=self.flow,
            version=self.version,
            graph=self.graph,
            message=encoded,
            entries=[station.name for station in entries],
            deadline_s=run.deadline_s,
            priority=run.priority,
            reply_to=run.reply_to,
        )

    def _give_up_opening(self, run: Run, error: BaseException) -> None:
        """End a run that may not be in the store; if it is, nobody will go on with it."""
        if not isinstance(error, FlowError):
            run.fail(TraceCancelled(run.trace_id, "the submission was cancelled before the trace began"))
            return
        run.fail(error)
        if error.code == FlowErrorCode.STORE_FAILED and not (self.aborted or loop_shuts_down()):
            self.spawn(self._forsake(run.trace_id))

    async def _take_back(self, opening: asyncio.Task[Lease | Exception], trace_id: str) -> None:
        """Cancel a trace whose submission was cancelled, once the store has said whether it has begun."""
        opened = await opening
        if isinstance(opened, Lease):
            await self._cancel_opened(trace_id, opened.generation)
        elif not isinstance(opened, FlowError):
            await self._forsake(trace_id)

    async def _forsake(self, trace_id: str) -> None:
        """Cancel a trace that may have begun although the store has failed."""
        try:
            record = await self.store.load_trace(trace_id)
        except Exception as error:
            self._warn_of_abandoned(trace_id, error)
            return
        # Where it was submitted again meanwhile, the record is of that.
        if record is None or trace_id in self.runtime.active:
            return
        if any(holder.owner == self.owner.name for holder in record.holders):
            await self._cancel_opened(trace_id, record.generation)

    async def _cancel_opened(self, trace_id: str, generation: int) -> None:
        cancelled = TraceOutcome(state="cancelled", error=TraceCancelled(trace_id).to_payload())
        try:
            await self.store.finish_trace(trace_id, cancelled, generation=generation)
        except Exception as error:
            self._warn_of_abandoned(trace_id, error)

    def _warn_of_abandoned(self, trace_id: str, error: Exception) -> None:
        logger.warning("trace %s may have begun in the store and is abandoned: %s", trace_id, describe(error))

    async def begin(
        self,
        run: Run,
        lease: Lease,
        msg: Payload,
        entries: Sequence[Station],
        *,
        steps: Iterable[Step] | None = None,
    ) -> None:
        """Let the message of a trace in that the store knows of; `steps` are those recorded before."""
        worker = run
        if self.crosses:
            # Whoever submitted the trace follows it; the nodes that run here do so in a run of its own.
            self.keep(Mirror(self, run, lease.generation, attached=False))
            worker = self._dispatch_run(run)
        unit = Unit(self, worker, lease, whole=not self.crosses)
        if steps is not None:
            unit.go_on_from(steps)
        self.keep(unit)
        if worker.done:
            return
        try:
            await self._let_in(unit, msg, entries)
        except BaseException:
            if worker is not run:
                run.fail(TraceCancelled(run.trace_id, "the submission was cancelled while it waited for admission"))
            raise

    def _dispatch_run(self, run: Run) -> Run:
        worker = Run(self.runtime, run.trace_id, run.message, emitted=False)
        worker.key = f"{run.trace_id}/"
        worker.priority, worker.reply_to, worker.chunks = run.priority, run.reply_to, run.open_chunks()
        worker.pending = 1
        self.runtime.active[worker.key] = worker
        if run.deadline_s is not None:
            worker.tighten_deadline(run.deadline_s)
        return worker

    async def _let_in(self, unit: Unit, msg: Payload, entries: Sequence[Station]) -> None:
        run = unit.run
        near = [station for station in entries if not station.far]
        far = [station.name for station in entries if station.far]
        waiting = admit_nowait(run, msg, near) if near else []
        if far and self.crossing is not None:
            await self.crossing.send_entries(unit, msg, far)
        run.pending -= 1
        if waiting:
            await admitted(run, waiting)
        if not run.pending and not run.done:
            run.settle()

    def keep(self, ending: Ending) -> None:
        """Look after a run from now on."""
        run = ending.run
        self._endings.add(ending)
        run.unit = ending
        if run.done:
            # Ended while the store was being told of it.
            run.told = False
            ending.ended()

    def forget(self, ending: Ending) -> None:
        """Look after a run no longer."""
        self._endings.discard(ending)

    def follow(self, unit: Unit) -> Run:
        """Return the run that follows a trace which another process has taken over from this one."""
        lost = unit.run
        logger.warning("trace %s was taken over by another process, and is followed from here", lost.trace_id)
        self.forget(unit)
        if self.runtime.active.get(lost.key) is lost:
            del self.runtime.active[lost.key]
        follower = Follower(self, lost, unit.generation)
        self.keep(follower)
        if lost.deadline_s is not None:
            follower.run.tighten_deadline(lost.deadline_s)
        return follower.run

    # What ends

    def adopt(self, run: Run, outcome: TraceOutcome) -> None:
        """Make a run say what the store says of its end."""
        unit = run.unit
        saw_it_all = isinstance(unit, Unit) and unit.whole and not unit.resumed and not isinstance(run.error, TraceOver)
        if outcome.state == "completed":
            run.error = None
        elif (
            run.error is None or isinstance(run.error, TraceOver) or run.error.code != (outcome.error or {}).get("code")
        ):
            run.error = as_error(run.trace_id, outcome)
        if not saw_it_all:
            self._read_results(run, outcome)
        if run.error is not None:
            run.error.partial = list(run.results)

    def _read_results(self, run: Run, outcome: TraceOutcome) -> None:
        read = self.codec.decode
        try:
            run.results = [
                (value.exit_name, read(value.value, source=value.exit_name, target=None, trace_id=run.trace_id))
                for value in outcome.values
            ]
        except FlowError as error:
            run.results = []
            if run.error is None:
                run.error = error

    async def load_outcome(self, trace_id: str, generation: int) -> TraceOutcome | None:
        """Return how a trace ended; None while it has not, or where the store knows only a later one."""
        record = await self.store.load_trace(trace_id)
        if record is None or record.generation != generation or record.outcome.state == "running":
            return None
        return record.outcome

    def announce(self, trace_id: str, generation: int, reply_to: str | None) -> None:
        """Tell whoever submitted a trace that it has ended; it would find out by itself, a little later."""
        if self.crossing is not None:
            self.crossing.announce(trace_id, generation, reply_to)

    async def send_far(self, unit: Unit, ctx: Context, messages: Sequence[Sent]) -> None:
        """Send what a node has emitted to nodes in other processes."""
        assert self.crossing is not None, "only a flow with a bus leaves nodes out"
        await self.crossing.send(unit, ctx, messages)

    async def attach(self, trace_id: str) -> Run:
        """Return a run that ends as a trace does, wherever that runs.

        Raises:
            TraceUnknown: the store does not know it.
        """
        running = self.runtime.active.get(trace_id)
        if running is not None:
            return running
        record = await self.store.load_trace(trace_id)
        if record is None:
            raise TraceUnknown(trace_id)
        return attached(self, record) if record.outcome.state == "running" else ended(self, record)

    async def cancel(self, trace_id: str) -> bool:
        """Cancel a trace that this process neither runs nor follows; false if it is not running.

        Raises:
            FlowError: `STORE_FAILED`, the store does not answer.
        """
        try:
            async with asyncio.timeout(self.lease_s):
                return await self._cancel(trace_id)
        except Exception as error:
            message = f"the trace was not cancelled, since the state store did not answer: {describe(error)}"
            raise FlowError(trace_id, None, FlowErrorCode.STORE_FAILED, message, error) from error

    async def _cancel(self, trace_id: str) -> bool:
        record = await self.store.load_trace(trace_id)
        if record is None or record.outcome.state != "running":
            return False
        error = TraceCancelled(trace_id)
        outcome = TraceOutcome(state="cancelled", error=error.to_payload())
        stands = await self.store.finish_trace(trace_id, outcome, generation=record.generation)
        return stands is not None and stands.state == "cancelled"

    async def flush(self, unit: Unit, unfilled: UnfilledJoin) -> bool:
        """Let a join that can no longer fill go on with what it has; true where it does so in this unit.

        Raises:
            JoinIncomplete: it is not meant to.
        """
        station = self.runtime.stations[unfilled.join]
        if not station.node.emits_incomplete:
            raise JoinIncomplete(unit.run.trace_id, unfilled.join, unfilled.have, unfilled.need)
        origin = flush_origin(unfilled.turn)
        if not unit.whole:
            # By the bus, also to a join that runs here: a unit that dies now is delivered again, and sends it again.
            assert self.crossing is not None, "units of a bus have one"
            await self.crossing.send_flush(unit, origin, unfilled.join)
            return False
        ctx = Context(unit.run, station, FLUSH, unfilled.turn, origin)
        await self.store.reopen(unit.lease, ctx.idempotency_key)
        unit.drained = False
        station.push(ctx)
        return True

    # What goes on beside

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self.lease_s / 3)
            units = {ending.lease: ending for ending in self._endings if isinstance(ending, Unit)}
            if not units:
                continue
            try:
                async with asyncio.timeout(self.lease_s / 3):
                    lost = await self.store.extend(list(units), lease_s=self.lease_s)
            except Exception as error:
                logger.warning("the leases of flow %r could not be extended: %s", self.flow, describe(error))
                continue
            for lease in lost:
                unit = units[lease]
                unit.run.fail(LeaseLost(lease.trace_id, lease.unit, lease.owner, lease.epoch))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            watched = [ending for ending in self._endings if not ending.run.done]
            if not watched:
                continue
            try:
                async with asyncio.timeout(self.lease_s):
                    states = await self.store.load_states({ending.run.trace_id for ending in watched})
            except Exception as error:
                logger.warning("the store does not say how the traces of flow %r stand: %s", self.flow, describe(error))
                continue
            for ending in watched:
                self._compare(ending, states.get(ending.run.trace_id))

    def _compare(self, ending: Ending, stands: tuple[int, str] | None) -> None:
        if ending.run.done:
            return
        if stands is None:
            if not isinstance(ending, Unit):
                # Ended, and forgotten since: nothing more will be heard of it.
                ending.run.fail(TraceUnknown(ending.run.trace_id))
            return
        generation, state = stands
        if generation != ending.generation or state != "running":
            ending.run.fail(TraceOver(ending.run.trace_id, state if generation == ending.generation else "replaced"))

    @property
    def endings(self) -> Iterable[Ending]:
        """The runs that are looked after."""
        return tuple(self._endings)
