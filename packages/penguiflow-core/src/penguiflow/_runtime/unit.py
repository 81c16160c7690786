"""A unit of a trace at work in this process: what it may write, and how it ends in the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from penguiflow._described import describe
from penguiflow._runtime.codec import encode_value
from penguiflow._runtime.context import Context
from penguiflow._runtime.joins import FLUSH
from penguiflow._runtime.origin import message_id
from penguiflow._runtime.outbox import HeldContext, Outbox, restore
from penguiflow._runtime.shutdown import loop_shuts_down
from penguiflow.errors import FlowError, FlowErrorCode, FlowStopped, LeaseLost, TraceCancelled, TraceOver
from penguiflow.state import JoinPart, Lease, Step, TraceOutcome
from penguiflow.types import Payload

if TYPE_CHECKING:
    from penguiflow._runtime.journal import Journal
    from penguiflow._runtime.run import Run

__all__ = ["Ending", "Unit", "is_takeover"]

T = TypeVar("T")

# Seconds until an outcome that could not be written, or read, is tried again, doubled from one try to the next.
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 2.0

logger = logging.getLogger("penguiflow")


def is_takeover(error: FlowError | None) -> bool:
    """Say whether a unit ended because somebody else has it, or has ended its trace."""
    return isinstance(error, LeaseLost | TraceOver)


class Ending:
    """Ends a run in the store before anyone is told; see `Run.finish`.

    The outcome that the store returns is the one that counts: of a cancellation and a result at the same time, the
    first to be written down.
    """

    def __init__(self, journal: Journal, run: Run, generation: int) -> None:
        self.journal = journal
        self.run = run
        self.generation = generation
        self.outcome: TraceOutcome | None = None
        self.follower: Run | None = None
        """What follows the trace since another process has taken it over."""
        self._closing: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    def is_recorded(self, ctx: Context) -> bool:
        """Say whether a message was handled before, so that its node will not run."""
        return False

    def settled(self) -> None:
        """Called when nothing of the run is left to do here."""

    def ended(self) -> None:
        """Called when the run has ended; sees to it that the store knows, and then tells whoever waits."""
        if self.journal.aborted or loop_shuts_down():
            self._tell()
        elif self._closing is None:
            self._close_by(self._close())

    def _close_by(self, work: Coroutine[Any, Any, None]) -> None:
        self._closing = self.journal.spawn(work)
        self._closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Task[None]) -> None:
        """See to it that nobody waits for a store which did not answer before the flow had stopped."""
        if closing.cancelled() and not self.run.told:
            self.run.fail(FlowStopped(self.run.trace_id, "the flow was stopped before the end was written down"))
            self._tell()

    async def _close(self) -> None:
        """Write down how the run ended, and tell."""
        self._failure = None
        try:
            async with asyncio.timeout(self.journal.lease_s):
                await self._write_until_done()
        except Exception as error:
            self._could_not_end(self._failure or error)
        self._tell()

    async def _write_until_done(self) -> None:
        """Write the end; what everybody is told hangs on an outcome, so that one is asked for again."""
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                await self._write_end(self.run.error)
                return
            except FlowError:
                raise
            except Exception as error:
                if not _has_outcome(self.run.error):
                    raise
                self._failure = error
                logger.warning(
                    "the store does not take how trace %s ended: %s; trying again", self.run.trace_id, describe(error)
                )
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)

    async def _write_end(self, error: FlowError | None) -> None:
        if isinstance(error, TraceOver):
            self.outcome = await self.journal.load_outcome(self.run.trace_id, self.generation)
        elif _has_outcome(error):
            self.outcome = await self._finish_trace(error)

    async def _finish_trace(self, error: FlowError | None) -> TraceOutcome | None:
        return await self.journal.store.finish_trace(self.run.trace_id, _outcome(error), generation=self.generation)

    def _could_not_end(self, error: Exception) -> None:
        logger.error(
            "how trace %s ended could not be written down, it can be resumed: %s",
            self.run.trace_id,
            describe(error),
            exc_info=error,
        )

    def _tell(self) -> None:
        run = self.run
        if self.outcome is not None:
            self.journal.adopt(run, self.outcome)
        self.journal.forget(self)
        run.tell()


def _has_outcome(error: FlowError | None) -> bool:
    """Say whether a run that ended with this is the end of its trace, here or in the store."""
    return error is not None and not (
        isinstance(error, FlowStopped | LeaseLost) or error.code == FlowErrorCode.STORE_FAILED
    )


def _outcome(error: FlowError | None) -> TraceOutcome:
    if error is None:
        return TraceOutcome(state="completed")
    return TraceOutcome(state="cancelled" if isinstance(error, TraceCancelled) else "failed", error=error.to_payload())


class Unit(Ending):
    """A unit that this process has claimed, with the run that works on it."""

    def __init__(self, journal: Journal, run: Run, lease: Lease, *, whole: bool) -> None:
        super().__init__(journal, run, lease.generation)
        self.lease = lease
        self.whole = whole
        """Whether it is the whole trace, of a flow in one process."""
        self.steps: dict[str, Step] = {}
        """What was recorded before this process claimed the unit; it is not done again."""
        self.consumed: set[str] = set()
        """Messages that those steps have fetched besides the one they handled."""
        self.resumed = False
        self.drained = False
        """Whether the store has said that nothing of the trace is outstanding."""
        self._made: dict[str, Outbox] = {}
        """What nodes have come to and is not yet recorded; an attempt that is repeated finds it here."""
        self._parts: dict[str, Payload] = {}
        """The parts of joins as they were, so that only those of another process are read back."""

    def go_on_from(self, steps: Iterable[Step]) -> None:
        """Take what was recorded before this process claimed the unit."""
        self.resumed = True
        for step in steps:
            self.steps[step.message_id] = step
            self.consumed.update(step.consumed)

    def is_recorded(self, ctx: Context) -> bool:
        """Say whether a message was handled before, so that its node will not run."""
        return bool(self.steps) and (ctx.idempotency_key in self.steps or ctx.idempotency_key in self.consumed)

    async def handle(self, ctx: Context, value: Payload) -> Outbox:
        """Run a node on a message, or take what is recorded of that; returns what is to be sent."""
        own = message_id(self.run.trace_id, ctx._station.name, ctx._origin).hex()
        known = self.steps.get(own)
        if known is not None:
            return restore(known, ctx, self.journal.codec)
        if own in self.consumed:
            return Outbox(None, replayed=True)
        made = self._made.get(own)
        if made is None:
            held = HeldContext(ctx, self)
            await self._note_start(ctx, own)
            made = held.close(await ctx._station.node.func(value, held))
            self._made[own] = made
        if made.step is not None:
            made = await self._record(made, ctx)
        del self._made[own]
        return made

    async def _note_start(self, ctx: Context, own: str) -> None:
        if ctx._station.policy.on_interrupted != "fail":
            return
        name = ctx._station.name
        before = await self._write(self.journal.store.mark_started(self.lease, own, name))
        if before is not None and before < self.lease.epoch:
            message = "the node was running when its process died, and its policy is on_interrupted='fail'"
            error = FlowError(self.run.trace_id, name, FlowErrorCode.INTERRUPTED, message)
            self.run.fail(error)
            raise error

    async def _record(self, made: Outbox, ctx: Context) -> Outbox:
        assert made.step is not None
        state = await self._write(self.journal.store.record_step(self.lease, made.step))
        self.drained = self.drained or state.pending == 0
        return made if state.first else restore(state.step, ctx, self.journal.codec)

    async def collect(self, ctx: Context, message: Payload, need: int) -> list[Payload] | None:
        """Put a part into a join; the parts, in order of arrival, where that fires it, else None."""
        name, trace_id = ctx._station.name, self.run.trace_id
        own = message_id(trace_id, name, ctx._origin).hex()
        flush = message is FLUSH
        encoded = None
        if not flush:
            self._parts[own] = message
            source = ctx._origin[1] if isinstance(ctx._origin, tuple) else None
            encoded = {"from": source, "part": encode_value(message, trace_id=trace_id, node_name=source)}
        part = JoinPart(message_id=own, join=name, turn=ctx._hop, need=need, value=encoded, flush=flush)
        state = await self._write(self.journal.store.add_join_part(self.lease, part))
        if state.late:
            ctx._post("core.join_late", need=need)
        if state.parts is None:
            self.drained = self.drained or state.pending == 0
            return None
        return [self._part(each) for each in state.parts]

    def _part(self, part: JoinPart) -> Payload:
        if part.message_id in self._parts:
            return self._parts[part.message_id]
        read = self.journal.codec.decode
        return read(part.value["part"], source=part.value["from"], target=None, trace_id=self.run.trace_id)

    async def _write(self, writing: Awaitable[T]) -> T:
        """Await a write of this unit; where it fails, the run ends: what is not written down did not happen."""
        try:
            return await writing
        except (LeaseLost, TraceOver) as error:
            self.run.fail(error)
            raise
        except Exception as error:
            failure = self.run.runtime.store_failed(self.run, "could not write down a step", error)
            self.run.fail(failure)
            raise failure from error

    def ended(self) -> None:
        """Called when the run has ended; of a whole trace that was taken over, what happens elsewhere is awaited."""
        journal, run = self.journal, self.run
        if self.whole and isinstance(run.error, LeaseLost) and not (journal.aborted or loop_shuts_down()):
            if journal.runtime.accepting:
                self.follower = journal.follow(self)
                self._tell()
                return
            stopped = FlowStopped(run.trace_id, "the flow is stopping; another process goes on with the trace")
            stopped.partial, run.error = run.error.partial, stopped
        super().ended()

    def settled(self) -> None:
        """Nothing is queued or running here: the trace has ended, waits for other processes, or for a join."""
        if self._closing is None and not self.journal.aborted:
            self._close_by(self._settle())

    async def _settle(self) -> None:
        try:
            async with asyncio.timeout(self.journal.lease_s):
                goes_on = await self._conclude()
        except Exception as error:
            goes_on = False
            self.run.fail(self._as_failure(error))
        if goes_on and not self.run.done:
            self._closing = None
            if not self.run.pending:
                self.run.settle()
            return
        if not self.run.done:
            self.run.finish(None)
        if self.outcome is None:
            await self._close()
        else:
            self._tell()

    def _as_failure(self, error: Exception) -> FlowError:
        return (
            error
            if isinstance(error, FlowError)
            else self.run.runtime.store_failed(self.run, "could not end the trace", error)
        )

    async def _conclude(self) -> bool:
        """End the trace, if nothing of it is outstanding anywhere; true where a join goes on with what it has."""
        if not (self.whole or await self._is_drained()):
            return False
        if self.journal.has_joins:
            for unfilled in await self.journal.store.unfilled_joins(self.run.trace_id):
                return await self.journal.flush(self, unfilled)
        # Completed, even if the run has failed meanwhile: nothing of the trace was left to do before that.
        self.outcome = await self._finish_trace(None)
        return False

    async def _is_drained(self) -> bool:
        if not self.drained and self.resumed:
            record = await self.journal.store.load_trace(self.run.trace_id)
            self.drained = record is not None and record.generation == self.generation and record.pending == 0
        return self.drained

    async def _finish_trace(self, error: FlowError | None) -> TraceOutcome | None:
        ended = await self.journal.store.finish_trace(self.run.trace_id, _outcome(error), lease=self.lease)
        self.journal.announce(self.run.trace_id, self.generation, self.run.reply_to)
        return ended

    async def _write_end(self, error: FlowError | None) -> None:
        if error is None:
            await self.journal.store.release(self.lease, done=True)
        elif isinstance(error, FlowStopped) or error.code == FlowErrorCode.STORE_FAILED:
            await self.journal.store.release(self.lease, done=False)
        else:
            await super()._write_end(error)

    def _tell(self) -> None:
        self._made.clear()
        self._parts.clear()
        if self.follower is None:
            super()._tell()
