"""Carries events to whoever listens, without making a message wait for them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeAlias

from penguiflow.metrics import FlowEvent

if TYPE_CHECKING:
    from penguiflow._runtime.context import Context
    from penguiflow._runtime.run import Run
    from penguiflow._runtime.station import Station
    from penguiflow._runtime.store import StoreWriter
    from penguiflow.errors import FlowError

__all__ = ["EVENTS_CAP", "EventHub", "Listener", "is_being_cancelled"]

Listener: TypeAlias = Callable[[FlowEvent], Awaitable[None] | None]
"""Told of every event, in order: a plain function or an async one."""

EVENTS_CAP = 10_000
"""Events that may wait for slow listeners; what comes on top is dropped and counted."""
# Events handled before other tasks get a turn: more than a worker makes in its own turn, or the queue would only grow.
_BURST = 2000

logger = logging.getLogger("penguiflow")


class EventHub:
    """A bounded queue of events and the task that hands them to the listeners, one after the other.

    An exception in a listener is logged and changes nothing else. A listener that cannot keep up loses events, which
    `dropped` counts, but delays no message.
    """

    def __init__(self, listeners: list[Listener], store: StoreWriter | None) -> None:
        self.dropped = 0
        self._listeners = listeners
        self._store = store
        self._queue: deque[FlowEvent] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._idle = asyncio.Event()
        """Set while the dispatcher waits for events; it has caught up if there are none either."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start handing out events."""
        self._task = asyncio.get_running_loop().create_task(self._dispatch(), name="penguiflow-events")

    async def stop(self, timeout_s: float) -> None:
        """Hand out what is queued, for at most `timeout_s` seconds, and end."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._queue or not self._idle.is_set():
                    # An event that has just come in has woken the dispatcher, which has not run yet.
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            self.dropped += len(self._queue)
            logger.warning("a listener of the flow is stuck: %d events were dropped at its stop", len(self._queue))
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task], timeout=timeout_s)

    def post(
        self,
        event_type: str,
        run: Run,
        station: Station | None = None,
        *,
        attempt: int = 0,
        latency_ms: float | None = None,
        exception: BaseException | None = None,
        **extra: Any,
    ) -> None:
        """Queue an event of a run."""
        name, depth = (None, 0) if station is None else (station.name, station.queued)
        self._put(
            run, FlowEvent(event_type, time.time(), run.trace_id, name, attempt, latency_ms, depth, extra, exception)
        )

    def node_started(self, station: Station, run: Run, ctx: Context) -> float:
        """Post `node_start`; returns when that was, for `node_ended`.

        Of the metadata it bears one field, which says nothing of its own: the W3C `traceparent` that spans belong to.
        """
        now, traceparent = time.time(), ctx.meta.get("traceparent")
        extra = {"traceparent": traceparent} if isinstance(traceparent, str) else {}
        self._put(
            run, FlowEvent("node_start", now, run.trace_id, station.name, ctx._attempt, None, station.queued, extra)
        )
        return time.perf_counter()

    def node_ended(self, station: Station, run: Run, ctx: Context) -> None:
        """Post `node_end`."""
        name, took_ms, depth = station.name, _ms_since(ctx._started), station.queued
        self._put(run, FlowEvent("node_end", time.time(), run.trace_id, name, ctx._attempt, took_ms, depth, {}))

    def node_failed(self, station: Station, run: Run, ctx: Context, error: FlowError) -> None:
        """Post `node_error`."""
        self.post(
            "node_error",
            run,
            station,
            attempt=ctx._attempt,
            latency_ms=_ms_since(ctx._started),
            exception=error.original_exc or error,
            code=error.code,
        )

    def emitted(self, station: Station, run: Run, ctx: Context, targets: list[str]) -> None:
        """Post `emit`."""
        extra, depth = {"targets": targets}, station.queued
        self._put(run, FlowEvent("emit", time.time(), run.trace_id, station.name, ctx._attempt, None, depth, extra))

    def _put(self, run: Run, event: FlowEvent) -> None:
        if self._store is not None:
            self._store.put(run, event)
            if not self._listeners:
                return
        queue = self._queue
        if len(queue) >= EVENTS_CAP:
            if not self.dropped:
                logger.warning("events are dropped: a listener of the flow is slower than the flow")
            self.dropped += 1
            return
        queue.append(event)
        wake = self._wake
        if wake is not None:
            self._wake = None
            if not wake.done():
                wake.set_result(None)

    async def _dispatch(self) -> None:
        handled = 0
        while True:
            if not self._queue:
                wake = self._wake = asyncio.get_running_loop().create_future()
                self._idle.set()
                await wake
                self._idle.clear()
            event = self._queue.popleft()
            for listener in self._listeners:
                try:
                    outcome = listener(event)
                    if outcome is not None and (type(outcome) is CoroutineType or inspect.isawaitable(outcome)):
                        await outcome
                except asyncio.CancelledError:
                    if is_being_cancelled():
                        raise
                    logger.error("listener %r was cancelled at event %s", listener, event.event_type)
                except (KeyboardInterrupt, SystemExit, GeneratorExit):
                    raise
                except BaseException:
                    logger.exception("listener %r failed at %s of trace %s", listener, event.event_type, event.trace_id)
            handled += 1
            if handled % _BURST == 0:
                await asyncio.sleep(0)


def is_being_cancelled() -> bool:
    """Tell a task's own cancellation from a CancelledError that what it called has raised."""
    task = asyncio.current_task()
    return task is not None and bool(task.cancelling())


def _ms_since(started: float) -> float | None:
    # A node may fail before it is called, because its input does not fit, and listeners may be added while it runs.
    return None if not started else (time.perf_counter() - started) * 1000.0
