"""Takes the messages of other processes from the bus, and runs the local nodes that they are for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from penguiflow._described import describe
from penguiflow._runtime.admission import admit_at, admitted
from penguiflow._runtime.context import Context
from penguiflow._runtime.envelope import Envelope
from penguiflow._runtime.joins import FLUSH
from penguiflow._runtime.relay import RelayedChunks
from penguiflow._runtime.run import Run
from penguiflow._runtime.unit import Unit
from penguiflow.bus import Delivery, ExtendableLeases
from penguiflow.errors import FlowError, FlowErrorCode, FlowStopped, LeaseLost
from penguiflow.state import Lease
from penguiflow.types import Headers, Message, Payload

if TYPE_CHECKING:
    from penguiflow._runtime.crossing import Crossing
    from penguiflow._runtime.station import Station

__all__ = ["Intake"]

# Seconds a `get` waits: nothing depends on it, a queue that fills up is seen at once.
_GET_S = 5.0
# Seconds until something that failed for want of a store or a bus is tried again, doubled from one try to the next.
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
# Seconds a message waits that a process of another version, or with other nodes, has to take.
_NOT_OURS_DELAY_S = 1.0

logger = logging.getLogger("penguiflow")


class _Turns:
    """Lets the messages of one trace to one node run one after the other, in the order in which they came."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def take(self, trace_id: str, target: str) -> AsyncIterator[None]:
        key = (trace_id, target)
        lock, users = self._locks.setdefault(key, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[key]


class Intake:
    """The deliveries that this process holds.

    Invariant: each delivery is in `_held` from `get` until it is acknowledged, given back or lost; its lease is kept
    meanwhile. At most `maxsize` of each queue are held at a time, so a slow node slows those who send to it.
    """

    def __init__(self, crossing: Crossing, maxsize: int) -> None:
        self._crossing = crossing
        self._journal = crossing.journal
        self._bus = crossing.bus
        self._maxsize = maxsize
        self._held: dict[str, tuple[Delivery, Run | None]] = {}
        self._turns = _Turns()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

    def start(self, queues: dict[str, Station]) -> None:
        """Begin to take messages from these queues, each for its node."""
        create = self._journal.runtime.loop.create_task
        for queue in queues:
            self._loops.append(create(self._take_from(queue), name=f"penguiflow-intake {queue}"))
        if isinstance(self._bus, ExtendableLeases):
            self._loops.append(create(self._keep_leases(self._bus), name="penguiflow-leases"))

    async def close(self) -> None:
        """Take no more; what is held goes on."""
        loops = [loop for loop in self._loops if loop.get_name() != "penguiflow-leases"]
        for loop in loops:
            loop.cancel()
        if loops:
            await asyncio.wait(loops, timeout=_GET_S)

    async def stop(self, timeout_s: float) -> None:
        """Wait until what is held was acknowledged or given back, at most `timeout_s` seconds, and end."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)
        leftover = {*self._tasks, *self._loops}
        for task in leftover:
            task.cancel()
        if leftover:
            await asyncio.wait(leftover, timeout=timeout_s)

    async def _take_from(self, queue: str) -> None:
        room = asyncio.Semaphore(self._maxsize)
        delay_s = _FIRST_DELAY_S
        while True:
            await room.acquire()
            try:
                delivery = await self._bus.get(queue, timeout_s=_GET_S)
                delay_s = _FIRST_DELAY_S
            except Exception as error:
                room.release()
                logger.warning("the bus gives nothing from %s: %s", queue, describe(error))
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
                continue
            except BaseException:
                room.release()
                raise
            if delivery is None:
                room.release()
                continue
            self._held[delivery.token] = (delivery, None)
            task = self._journal.runtime.loop.create_task(self._handle(delivery), name="penguiflow-delivery")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: room.release())

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._handle_envelope(delivery)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # Nothing of it was written: someone gets it again.
            logger.warning(
                "a message from %s could not be handled: %s", delivery.queue, describe(error), exc_info=error
            )
            await self._give_back(delivery, self._delay_s(delivery))
        finally:
            self._held.pop(delivery.token, None)

    async def _handle_envelope(self, delivery: Delivery) -> None:
        try:
            envelope = Envelope.of(delivery.message)
        except ValueError as error:
            logger.error("a message in %s cannot be read: %s", delivery.queue, error)
            await self._give_back(delivery, self._delay_s(delivery))
            return
        station = self._journal.runtime.stations.get(envelope.target)
        if station is None or station.far or not self._crossing.is_ours(envelope):
            await self._give_back(delivery, _NOT_OURS_DELAY_S)
            return
        if not station.ordered or station.node.kind == "join":
            await self._run(delivery, envelope, station)
            return
        async with self._turns.take(envelope.trace_id, envelope.target):
            await self._run(delivery, envelope, station)

    async def _run(self, delivery: Delivery, envelope: Envelope, station: Station) -> None:
        journal, trace_id, unit_id = self._journal, envelope.trace_id, envelope.message_id
        claim = await journal.store.claim(
            trace_id,
            unit_id,
            owner=journal.owner.name,
            lease_s=journal.lease_s,
            generation=envelope.generation,
            force=True,
        )
        if claim.lease is None or claim.finished:
            await self._bus.ack(delivery)
            return
        steps = await journal.store.load_steps(trace_id) if claim.lease.epoch > 1 else []
        run = self._open(delivery, envelope, claim.lease)
        unit = Unit(journal, run, claim.lease, whole=False)
        if claim.lease.epoch > 1:
            unit.go_on_from(steps)
        journal.keep(unit)
        self._held[delivery.token] = (delivery, run)
        try:
            await self._let_in(unit, envelope, station)
        except Exception:
            # Given back by whoever called; what has begun of it must not keep a drain waiting.
            run.fail(FlowStopped(trace_id, "the message could not be let in"))
            raise
        await run.wait()
        await self._settle_delivery(delivery, run.error)

    def _open(self, delivery: Delivery, envelope: Envelope, lease: Lease) -> Run:
        runtime = self._journal.runtime
        base = envelope.base
        message = None
        if base is not None:
            headers = Headers.model_validate(base["headers"])
            message = Message(payload=None, headers=headers, trace_id=envelope.trace_id, meta=base["meta"])
        run = Run(runtime, envelope.trace_id, message, emitted=False)
        run.key = f"{envelope.trace_id}/{lease.unit}/{lease.epoch}"
        run.scope = f"{envelope.trace_id}/{lease.unit[:8]}"
        run.priority = envelope.priority
        run.reply_to = envelope.reply_to
        run.pending = 1
        runtime.active[run.key] = run
        if envelope.reply_to is not None and envelope.reply_to != self._crossing.reply_queue:
            run.chunks = RelayedChunks(
                envelope.trace_id,
                self._crossing.relay,
                envelope.reply_to,
                generation=lease.generation,
                attempt=delivery.attempt,
            )
        else:
            run.chunks = self._crossing.local_chunks(envelope.trace_id)
        if envelope.deadline_s is not None:
            run.tighten_deadline(envelope.deadline_s)
        return run

    async def _let_in(self, unit: Unit, envelope: Envelope, station: Station) -> None:
        run, journal = unit.run, self._journal
        value: Payload = FLUSH
        try:
            if envelope.value is not None:
                read = journal.codec.decode
                value = read(envelope.value, source=envelope.source, target=station.name, trace_id=run.trace_id)
            else:
                await journal.store.reopen(unit.lease, envelope.message_id)
        except FlowError as error:
            run.fail(error)
        except Exception as error:
            run.fail(journal.runtime.store_failed(run, "could not reopen the trace", error))
        if run.done:
            return
        waiting = admit_at(station, Context(run, station, value, envelope.hop, envelope.origin))
        run.pending -= 1
        if waiting:
            await admitted(run, waiting)

    async def _settle_delivery(self, delivery: Delivery, error: FlowError | None) -> None:
        """Tell the bus what became of a delivery."""
        if isinstance(error, LeaseLost):
            return
        if isinstance(error, FlowStopped):
            await self._give_back(delivery, 0.0)
        elif error is not None and error.code == FlowErrorCode.STORE_FAILED:
            await self._give_back(delivery, self._delay_s(delivery))
        else:
            await self._bus.ack(delivery)

    async def _give_back(self, delivery: Delivery, delay_s: float) -> None:
        try:
            await self._bus.nack(delivery, delay_s=delay_s)
        except Exception as error:
            logger.warning("a delivery from %s comes back when its lease ends: %s", delivery.queue, describe(error))

    def _delay_s(self, delivery: Delivery) -> float:
        return min(_FIRST_DELAY_S * 2.0 ** min(delivery.attempt, 30), _LONGEST_DELAY_S)

    async def _keep_leases(self, bus: ExtendableLeases) -> None:
        while True:
            await asyncio.sleep(bus.lease_s / 3)
            for token, (delivery, run) in tuple(self._held.items()):
                if token not in self._held:
                    continue
                try:
                    kept = await bus.extend(delivery)
                except Exception as error:
                    logger.warning(
                        "the lease of a delivery from %s was not extended: %s", delivery.queue, describe(error)
                    )
                    continue
                if not kept and run is not None and isinstance(run.unit, Unit):
                    lease = run.unit.lease
                    run.fail(LeaseLost(lease.trace_id, lease.unit, lease.owner, lease.epoch))
