"""Goes on with traces whose process has died."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from penguiflow._described import describe
from penguiflow._runtime.kinds import MESSAGE, kind_of
from penguiflow._runtime.mirror import ended
from penguiflow._runtime.owner import is_dead
from penguiflow._runtime.run import Run
from penguiflow._runtime.shutdown import loop_shuts_down
from penguiflow.errors import FlowDefinitionError, FlowError, GraphChanged, TraceActive, TraceUnknown
from penguiflow.state import Lease, LeaseHolder, TraceRecord
from penguiflow.types import Message

if TYPE_CHECKING:
    from penguiflow._runtime.journal import Journal

__all__ = ["Reclaimer", "resume"]

# Traces taken up in one look at the store.
_BATCH = 100
# Traces that cannot go on here are remembered, so that each is logged once; a program has few.
_REFUSED_CAP = 10_000

logger = logging.getLogger("penguiflow")


async def resume(journal: Journal, trace_id: str, *, force: bool) -> Run:
    """Go on with a trace; one that has ended is returned as it is."""
    while (other := journal.taking.get(trace_id)) is not None:
        await other.wait()
    running = journal.runtime.active.get(trace_id)
    if running is not None:
        return running
    with _taking(journal, trace_id):
        return await _resume(journal, trace_id, force=force)


@contextmanager
def _taking(journal: Journal, trace_id: str) -> Iterator[None]:
    """Keep others in this process from taking up the same trace: the later claim would end the earlier one."""
    taken = journal.taking[trace_id] = asyncio.Event()
    try:
        yield
    finally:
        del journal.taking[trace_id]
        taken.set()


async def _resume(journal: Journal, trace_id: str, *, force: bool) -> Run:
    record = await journal.store.load_trace(trace_id)
    if record is None:
        raise TraceUnknown(trace_id)
    if record.outcome.state != "running":
        return ended(journal, record)
    check_shape(journal, record)
    lease = await _claim(journal, record, force=force)
    if lease is None:
        latest = await journal.store.load_trace(trace_id)
        if latest is None or latest.outcome.state == "running":
            raise TraceActive(trace_id)
        return ended(journal, latest)
    return await take_up(journal, record, lease)


async def _claim(journal: Journal, record: TraceRecord, *, force: bool) -> Lease | None:
    """Take the first unit of a trace; where someone holds it who may be dead, wait until the lease would lapse."""
    trace_id, here = record.start.trace_id, journal.owner
    waited = False
    while True:
        claim = await journal.store.claim(
            trace_id, "", owner=here.name, lease_s=journal.lease_s, generation=record.generation, force=force
        )
        if claim.lease is not None or claim.state != "running" or claim.holder is None:
            return claim.lease
        if is_dead(claim.holder, here):
            force = True
            continue
        if waited:
            raise TraceActive(trace_id)
        waited = True
        await asyncio.sleep(claim.remaining_s)


async def take_up(journal: Journal, record: TraceRecord, lease: Lease) -> Run:
    """Run what is not recorded yet of a trace that was claimed."""
    run, beginning = await begin_again(journal, record, lease)
    # Whoever gives up waiting for admission leaves the trace at work.
    await asyncio.shield(beginning)
    return run


async def begin_again(journal: Journal, record: TraceRecord, lease: Lease) -> tuple[Run, asyncio.Task[None]]:
    """Return the run of a trace that was claimed, and what lets its message in."""
    start, runtime = record.start, journal.runtime
    first = start.entries[0] if start.entries else None
    try:
        steps = await journal.store.load_steps(start.trace_id)
        msg = journal.codec.decode(start.message, source=None, target=first, trace_id=start.trace_id)
        message: Message | None = msg if kind_of(msg) is MESSAGE else None
        run = runtime.open_run(start.trace_id, message, emitted=False)
    except BaseException:
        if not (journal.aborted or loop_shuts_down()):
            journal.spawn(_give_up(journal, lease))
        raise
    run.pending += 1
    run.priority = start.priority
    if journal.crossing is not None:
        # Whoever submitted it is gone; what has left already still names them.
        run.reply_to = journal.crossing.reply_queue
    if start.deadline_s is not None:
        run.tighten_deadline(start.deadline_s)
    entries = [runtime.stations[name] for name in start.entries]
    return run, journal.spawn(journal.begin(run, lease, msg, entries, steps=steps))


async def _give_up(journal: Journal, lease: Lease) -> None:
    try:
        await journal.store.release(lease, done=False)
    except Exception as error:
        logger.warning("trace %s can go on once its lease has ended: %s", lease.trace_id, describe(error))


def check_shape(journal: Journal, record: TraceRecord) -> None:
    """Check that a trace began with a flow of this shape.

    Raises:
        GraphChanged: nodes or edges differ.
    """
    if record.start.flow != journal.flow:
        raise FlowDefinitionError(
            f"the trace belongs to flow {record.start.flow!r}, not to {journal.flow!r}; resume it with that one",
            trace_id=record.start.trace_id,
        )
    differences = list(_differences(record.start.graph, journal.graph))
    if differences:
        raise GraphChanged(record.start.trace_id, journal.flow, differences)


def _differences(then: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name in then:
        if name not in now:
            yield f"node {name!r} is missing"
        elif list(then[name]) != list(now[name]):
            yield f"node {name!r} led to {list(then[name])} and leads to {list(now[name])}"
    for name in now:
        if name not in then:
            yield f"node {name!r} is new"


class Reclaimer:
    """Looks for traces of the flow that nobody works on, and takes them up; at the start, and from time to time.

    A store that hangs, or fails for one trace, holds up no other: each trace gets a third of a lease time.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._patience_s = journal.lease_s / 3
        self._refused: set[tuple[str, int]] = set()
        self._unsure: dict[str, LeaseHolder] = {}
        """Traces whose claim was not answered: they may be held in this process's name, and are not found then."""

    async def run(self) -> None:
        """Look until cancelled."""
        journal = self._journal
        while True:
            taken = 0
            try:
                taken = await self._look()
            except Exception as error:
                logger.warning("abandoned traces of flow %r could not be looked for: %s", journal.flow, describe(error))
            if taken < _BATCH:
                await asyncio.sleep(journal.lease_s / 3)

    async def _look(self) -> int:
        journal = self._journal
        limit = _BATCH + len(self._refused)
        async with asyncio.timeout(self._patience_s):
            found = await journal.store.unfinished(
                journal.flow, owner=journal.owner.name, host=journal.owner.host, limit=limit
            )
        holders = {**self._unsure, **{holder.trace_id: holder for holder in found}}
        self._unsure.clear()
        taken = 0
        for trace_id, holder in holders.items():
            if not journal.runtime.accepting:
                return 0
            refused = (trace_id, holder.generation) in self._refused
            if not refused and trace_id not in journal.runtime.active and trace_id not in journal.taking:
                taken += await self._take(holder)
        return taken

    async def _take(self, holder: LeaseHolder) -> bool:
        journal, trace_id = self._journal, holder.trace_id
        try:
            with _taking(journal, trace_id):
                async with asyncio.timeout(self._patience_s):
                    beginning = await self._claim(holder)
                if beginning is None:
                    return False
                await asyncio.shield(beginning)
        except TraceActive:
            # Submitted here under the same id just now; the store refuses that.
            return False
        except FlowError as error:
            logger.error("trace %s cannot go on here: %s", trace_id, error)
            self._refuse(holder)
            return False
        except Exception as error:
            logger.warning("trace %s could not be taken up, which is tried again: %s", trace_id, describe(error))
            if len(self._unsure) < _REFUSED_CAP:
                self._unsure[trace_id] = replace(holder, owner=journal.owner.name, remaining_s=0.0)
            return False
        return True

    async def _claim(self, holder: LeaseHolder) -> asyncio.Task[None] | None:
        journal = self._journal
        dead = is_dead(holder.owner, journal.owner)
        if holder.remaining_s > 0 and not dead:
            return None
        record = await journal.store.load_trace(holder.trace_id)
        if record is None or record.outcome.state != "running" or record.generation != holder.generation:
            return None
        if record.start.version != journal.version:
            self._refuse(holder)
            return None
        check_shape(journal, record)
        claim = await journal.store.claim(
            holder.trace_id,
            "",
            owner=journal.owner.name,
            lease_s=journal.lease_s,
            generation=holder.generation,
            force=dead,
        )
        if claim.lease is None:
            return None
        _, beginning = await begin_again(journal, record, claim.lease)
        return beginning

    def _refuse(self, holder: LeaseHolder) -> None:
        if len(self._refused) >= _REFUSED_CAP:
            self._refused.clear()
        self._refused.add((holder.trace_id, holder.generation))
