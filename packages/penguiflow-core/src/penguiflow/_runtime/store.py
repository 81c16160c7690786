"""Writes the events of a flow to its state store, in order and without loss."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from typing import TYPE_CHECKING

from penguiflow._described import describe
from penguiflow._runtime.events import is_being_cancelled
from penguiflow.errors import FlowError, FlowErrorCode
from penguiflow.metrics import FlowEvent
from penguiflow.state import EventBatches, StoredEvent

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run
    from penguiflow.state import StateStore

__all__ = ["BACKLOG_CAP", "StoreWriter"]

BACKLOG_CAP = 10_000
"""Events that may wait for the store before `submit` and `emit` wait too."""

# Events that go to the store in one call.
_BATCH = 256

logger = logging.getLogger("penguiflow")


class StoreWriter:
    """One task that saves events one after the other.

    No event is dropped: while the store is behind, no new trace is admitted. An event that cannot be saved fails its
    trace with `STORE_FAILED`; of a trace that has ended already, it is logged.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._queue: deque[tuple[Run, FlowEvent]] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start writing."""
        self._task = asyncio.get_running_loop().create_task(self._write(), name="penguiflow-store")

    def put(self, run: Run, event: FlowEvent) -> None:
        """Queue an event."""
        self._queue.append((run, event))
        self._idle.clear()
        self._wake.set()
        if len(self._queue) >= BACKLOG_CAP:
            self._room.clear()

    @property
    def congested(self) -> bool:
        """Whether the store is so far behind that no new trace should start."""
        return not self._room.is_set()

    async def wait_for_room(self) -> None:
        """Wait until the store has caught up."""
        await self._room.wait()

    async def stop(self, timeout_s: float) -> None:
        """Write what is queued, for at most `timeout_s` seconds, and end."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            logger.error("the state store did not take %d events before the flow stopped", len(self._queue))
        finally:
            self._room.set()
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task], timeout=timeout_s)

    async def _write(self) -> None:
        while True:
            while self._queue:
                batch = list(itertools.islice(self._queue, _BATCH))
                await self._save_batch(batch)
                for _ in batch:
                    self._queue.popleft()
                if len(self._queue) < BACKLOG_CAP:
                    self._room.set()
            self._idle.set()
            self._wake.clear()
            await self._wake.wait()

    async def _save_batch(self, batch: list[tuple[Run, FlowEvent]]) -> None:
        """Save events in one call, where the store can do that; where that fails, one by one, to blame the right."""
        if isinstance(self._store, EventBatches) and len(batch) > 1:
            try:
                await self._store.save_events([_stored(event) for _, event in batch])
                return
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                    raise
        for run, event in batch:
            await self._save(run, event)

    async def _save(self, run: Run, event: FlowEvent) -> None:
        stored = _stored(event)
        trace_id, kind = stored["trace_id"], stored["kind"]
        try:
            await self._store.save_event(trace_id, stored["ts"], kind, stored["data"])
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                raise
            logger.exception("the state store did not save event %s of trace %s", kind, trace_id)
            message = f"the state store could not save event {kind!r}: {describe(error)}"
            run.fail(FlowError(trace_id, event.node_name, FlowErrorCode.STORE_FAILED, message, error))


def _stored(event: FlowEvent) -> StoredEvent:
    data = event.to_payload()
    return StoredEvent(trace_id=data.pop("trace_id"), ts=data.pop("ts"), kind=data.pop("event_type"), data=data)
