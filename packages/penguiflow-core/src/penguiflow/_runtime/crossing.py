"""The part of a running flow that other processes take part in: what goes out, what comes in, and the replies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from penguiflow._described import describe
from penguiflow._json import to_plain
from penguiflow._runtime.chunks import Chunks
from penguiflow._runtime.codec import encode_value
from penguiflow._runtime.envelope import Envelope, graph_hash, queue_name
from penguiflow._runtime.intake import Intake
from penguiflow._runtime.origin import OUTSIDE
from penguiflow._runtime.relay import Relay
from penguiflow._runtime.unit import Unit
from penguiflow.bus import BatchedPuts, ExpiringQueues, MessageBus
from penguiflow.errors import FlowError, FlowErrorCode, FlowStopped, TraceOver
from penguiflow.types import Json, Payload, StreamChunk

if TYPE_CHECKING:
    from penguiflow._runtime.context import Context
    from penguiflow._runtime.journal import Journal
    from penguiflow._runtime.outbox import Sent
    from penguiflow._runtime.run import Run

__all__ = ["Crossing"]

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_GET_S = 5.0
# Seconds that a bus gets to notice that a message is taken back.
_CANCEL_S = 1.0
# How many lease times the replies to a process are kept that no longer asks for them.
_REPLIES_KEPT = 4

logger = logging.getLogger("penguiflow")


class Crossing:
    """Everything that a running flow does with its bus."""

    def __init__(self, journal: Journal, bus: MessageBus) -> None:
        self.journal = journal
        self.bus = bus
        self.relay = Relay(bus)
        self.reply_queue = f"{journal.flow}:reply:{journal.owner.name}"
        self._graph = graph_hash(journal.graph)
        self._intake = Intake(self, journal.runtime.queue_maxsize)
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to take messages for the nodes that run here, and replies."""
        create = self.journal.runtime.loop.create_task
        self._loops = [
            create(self.relay.run(), name="penguiflow-relay"),
            create(self._take_replies(), name="penguiflow-replies"),
        ]
        if isinstance(self.bus, ExpiringQueues):
            self._loops.append(create(self._keep_reply_queue(self.bus), name="penguiflow-reply-queue"))
        stations = self.journal.runtime.stations
        queues = {}
        for target, station in stations.items():
            if not station.far:
                sources = [source for source, targets in self.journal.graph.items() if target in targets]
                queues.update({self._queue(source, target): station for source in (OUTSIDE, *sources)})
        self._intake.start(queues)

    async def close(self) -> None:
        """Take no more messages."""
        await self._intake.close()

    async def stop(self, timeout_s: float) -> None:
        """End, after what is held was given back and replies were sent; at most `timeout_s` seconds for each."""
        await self._intake.stop(timeout_s)
        await self.relay.flush(timeout_s)
        for loop in self._loops:
            loop.cancel()
        await asyncio.wait(self._loops, timeout=timeout_s)

    def is_ours(self, envelope: Envelope) -> bool:
        """Say whether a message is of this flow, in this version and shape."""
        ours = (self.journal.flow, self.journal.version, self._graph)
        if (envelope.flow, envelope.version, envelope.graph) == ours:
            return True
        logger.warning(
            "a message of trace %s is of flow %r, version %r, or of another shape: left to others",
            envelope.trace_id,
            envelope.flow,
            envelope.version,
        )
        return False

    def local_chunks(self, trace_id: str) -> Chunks | None:
        """Return where the chunks of a trace go that was submitted in this process."""
        mirror = self.journal.runtime.active.get(trace_id)
        return None if mirror is None else mirror.open_chunks()

    # What goes out

    async def send(self, unit: Unit, ctx: Context, messages: Sequence[Sent]) -> None:
        """Put what a node has sent to nodes elsewhere on the bus; messages of one edge in their order."""
        by_queue: dict[str, list[dict[str, Any]]] = {}
        own = bytes.fromhex(ctx.idempotency_key)
        for sent in messages:
            envelope = self._envelope(
                unit.run,
                unit.generation,
                source=ctx._station.name,
                target=sent.edge.station.name,
                index=sent.index,
                parent=own.hex(),
                hop=ctx._hop + sent.edge.closing,
                value=sent.encoded,
            )
            by_queue.setdefault(self._queue(envelope.source, envelope.target), []).append(envelope.to_message())
        name = ctx._station.name
        await asyncio.gather(*(self._put(unit, name, queue, batch) for queue, batch in by_queue.items()))

    async def send_entries(self, unit: Unit, msg: Payload, targets: Sequence[str]) -> None:
        """Put the message that a trace begins with on the bus, for entry nodes elsewhere; not once it has ended."""
        run = unit.run
        value = encode_value(msg, trace_id=run.trace_id, node_name=None)

        async def send() -> None:
            for target in targets:
                await self._put_from_outside(unit, OUTSIDE, target, 0, value)

        sending = self.journal.runtime.loop.create_task(send(), name="penguiflow-entries")
        over = self.journal.runtime.loop.create_task(run.wait(), name="penguiflow-entries")
        try:
            await asyncio.wait((sending, over), return_when=asyncio.FIRST_COMPLETED)
            if not run.done:
                await sending
        finally:
            over.cancel()
            sending.cancel()
            await asyncio.wait((sending, over), timeout=_CANCEL_S)
            if sending.done() and not sending.cancelled():
                # Where the trace has ended, that says why.
                sending.exception()

    async def send_flush(self, unit: Unit, origin: tuple[None, str, int], target: str) -> None:
        """Tell a join that no further part comes."""
        _, source, turn = origin
        await self._put_from_outside(unit, source, target, turn, None)

    async def _put_from_outside(self, unit: Unit, source: str, target: str, index: int, value: Json) -> None:
        envelope = self._envelope(
            unit.run,
            unit.generation,
            source=source,
            target=target,
            index=index,
            parent=None,
            hop=index if value is None else 0,
            value=value,
        )
        await self._put(unit, target, self._queue(OUTSIDE, target), [envelope.to_message()])

    def _envelope(self, run: Run, generation: int, **what: Any) -> Envelope:
        base = None
        if run.message is not None:
            meta = to_plain(run.message.meta) if run.message.meta else {}
            base = {"headers": run.message.headers.model_dump(mode="json"), "meta": meta}
        return Envelope(
            flow=self.journal.flow,
            version=self.journal.version,
            graph=self._graph,
            trace_id=run.trace_id,
            generation=generation,
            base=base,
            priority=run.priority,
            deadline_s=run.deadline_s,
            reply_to=run.reply_to,
            **what,
        )

    def _queue(self, source: str, target: str) -> str:
        return queue_name(self.journal.flow, self.journal.version, source, target)

    async def _put(self, unit: Unit, node_name: str, queue: str, batch: list[dict[str, Any]]) -> None:
        """Put messages on the bus, however long it is away; given up only with the run that sends them.

        Raises:
            FlowError: `MESSAGE_REFUSED`, the bus never takes them, which has ended the trace.
            FlowStopped: the bus is closed, so the trace has to go on elsewhere.
        """
        run, delay_s = unit.run, _FIRST_DELAY_S
        while True:
            try:
                if len(batch) > 1 and isinstance(self.bus, BatchedPuts):
                    await self.bus.put_many(queue, batch)
                else:
                    for message in batch:
                        await self.bus.put(queue, message)
                return
            except Exception as error:
                if run.done:
                    raise run.ended_error() from error
                self._give_up_where_final(unit, node_name, queue, error)
                logger.warning("%s takes no message, which is tried again: %s", queue, describe(error))
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)

    def _give_up_where_final(self, unit: Unit, node_name: str, queue: str, error: Exception) -> None:
        run = unit.run
        if isinstance(error, ValueError | TypeError):
            message = f"the message bus never takes this for queue {queue!r}: {describe(error)}"
            refused = FlowError(run.trace_id, node_name, FlowErrorCode.MESSAGE_REFUSED, message, error)
            run.fail(refused)
            raise refused
        if isinstance(error, RuntimeError):
            message = f"the message bus is closed, so queue {queue!r} takes nothing; the trace can be resumed"
            stopped = FlowStopped(run.trace_id, message)
            run.fail(stopped)
            submitted = self.journal.runtime.active.get(run.trace_id)
            if submitted is not None and _follows(submitted, unit.generation):
                submitted.fail(FlowStopped(run.trace_id, message))
            raise stopped from error

    # What comes back

    def announce(self, trace_id: str, generation: int, reply_to: str | None) -> None:
        """Tell whoever submitted a trace that it has ended."""
        if reply_to == self.reply_queue:
            self._ended(trace_id, generation)
        elif reply_to is not None:
            self.relay.put(reply_to, {"kind": "ended", "trace_id": trace_id, "generation": generation})

    async def _take_replies(self) -> None:
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                delivery = await self.bus.get(self.reply_queue, timeout_s=_GET_S)
                if delivery is not None:
                    await self.bus.ack(delivery)
                    self._take_reply(delivery.message)
                delay_s = _FIRST_DELAY_S
            except Exception as error:
                logger.warning("the bus gives no replies: %s", describe(error))
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)

    def _take_reply(self, reply: Any) -> None:
        kind, trace_id = reply.get("kind"), reply.get("trace_id")
        if kind == "ended":
            self._ended(trace_id, reply.get("generation"))
            return
        mirror = self.journal.runtime.active.get(trace_id)
        if kind != "chunk" or mirror is None or not _follows(mirror, reply.get("generation")):
            return
        try:
            mirror.open_chunks().put_nowait(StreamChunk.model_validate(reply.get("chunk")))
        except ValidationError as error:
            logger.warning("a chunk of trace %s is not as agreed: %s", trace_id, describe(error))

    def _ended(self, trace_id: str, generation: int) -> None:
        mirror = self.journal.runtime.active.get(trace_id)
        if mirror is not None and _follows(mirror, generation):
            mirror.fail(TraceOver(trace_id, "over"))

    async def _keep_reply_queue(self, bus: ExpiringQueues) -> None:
        lease_s = self.journal.lease_s
        while True:
            try:
                await bus.expire(self.reply_queue, _REPLIES_KEPT * lease_s)
            except Exception as error:
                logger.warning("the reply queue was not kept: %s", describe(error))
            await asyncio.sleep(lease_s / 3)


def _follows(run: Run, generation: int) -> bool:
    """Say whether a run only follows its trace, so that news of it come from elsewhere."""
    ending = run.unit
    return ending is not None and not isinstance(ending, Unit) and ending.generation == generation
