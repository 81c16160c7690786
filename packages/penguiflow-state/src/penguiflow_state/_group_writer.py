"""The one thread that writes: it commits in groups what many callers, in any event loop, wait for."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence

from penguiflow_state._errors import EventsLost, StoreClosed
from penguiflow_state._requests import Answer, Backend, Batch, EventRow, Request, Waiting

__all__ = ["GroupWriter"]

logger = logging.getLogger("penguiflow_state")

EVENT_DELAY_S = 0.02
"""How long the first event of a group waits for more; with the commit it stays below the 50 ms that are promised."""
GROUP_CAP = 1000
"""Requests in one transaction, and events that begin one at once: it bounds how long others wait for it."""
BACKLOG_CAP = 10_000
"""Events and requests that may wait before callers wait too."""
LOST_CAP = 10_000
"""Traces whose lost events are remembered one by one."""


class GroupWriter:
    """Takes writes from any thread and event loop, and hands each answer back once it is committed.

    Invariant, under `_changed`: `_events` and `_waiting` hold what no transaction has been begun for; `_unsettled`
    counts the events that are not committed and not given up, those of the running transaction included.
    """

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend = backend
        self._name = name
        self._changed = threading.Condition()
        self._events: deque[EventRow] = deque()
        self._waiting: deque[Waiting] = deque()
        self._unsettled = 0
        self._due_s: float | None = None
        self._lost: dict[str, BaseException] = {}
        self._lost_beyond: BaseException | None = None
        self._room: list[tuple[asyncio.Future[None], asyncio.AbstractEventLoop]] = []
        self._waking: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self._thread: threading.Thread | None = None
        self._ended: list[tuple[asyncio.Future[None], asyncio.AbstractEventLoop]] = []
        self._process = os.getpid()
        self.is_open = False
        """Whether the database has been opened."""

    async def add_events(self, rows: Sequence[EventRow]) -> None:
        """Take events, to be written within `EVENT_DELAY_S`; waits only while there is no room."""
        if self._closing or self._lost or self._lost_beyond or self._process != os.getpid():
            for row in rows:
                self.check(row.trace_id)
        if len(self._events) + len(self._waiting) >= BACKLOG_CAP:
            await self._wait_for_room()
        with self._changed:
            self._start()
            self._events.extend(rows)
            self._unsettled += len(rows)
            if self._due_s is None:
                self._due_s = time.monotonic() + EVENT_DELAY_S
                self._changed.notify()
            elif len(self._events) >= GROUP_CAP:
                self._changed.notify()

    async def write(self, request: Request) -> Answer:
        """Do a write; returns once it is committed.

        Raises:
            StateStoreError: it was not.
        """
        if self._closing or self._lost or self._lost_beyond:
            self.check(request.trace_id)
        if len(self._events) + len(self._waiting) >= BACKLOG_CAP:
            await self._wait_for_room()
        return await self._enqueue(request)

    async def write_all(self, requests: Iterable[Request]) -> list[Answer]:
        """Do several writes, each by itself."""
        futures = [self._enqueue(request) for request in requests]
        return list(await asyncio.gather(*futures))

    async def settle(self) -> None:
        """Wait until the events taken so far are written or given up, so that a read sees them."""
        if self._unsettled:
            await self._enqueue(Request("nothing", ""))

    def check(self, trace_id: str) -> None:
        """Refuse where the writer is closed, or lost events of the trace that nobody was told of.

        Raises:
            StoreClosed: it was closed, or this is a fork of its process.
            EventsLost: events of the trace were lost.
        """
        if self._closing:
            raise StoreClosed(self._name, "the store was closed; open another one")
        if self._process != os.getpid():
            raise StoreClosed(self._name, "the store belongs to the process this one was forked from; open another one")
        if self._lost_beyond is not None:
            error, self._lost_beyond = self._lost_beyond, None
            raise EventsLost(self._name, f"events of many traces could not be written: {error}", error)
        if self._lost and (lost := self._lost.pop(trace_id, None)) is not None:
            raise EventsLost(self._name, f"events of trace {trace_id!r} could not be written: {lost}", lost)

    async def close(self) -> None:
        """Write what was taken, and end. Cancelled, it ends none the less, later.

        Raises:
            EventsLost: events were lost and nobody was told.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        with self._changed:
            self._closing = True
            if self._thread is None or self._process != os.getpid():
                ended.set_result(None)
            else:
                self._ended.append((ended, loop))
            self._changed.notify()
        await ended
        lost = [*self._lost.values(), *([self._lost_beyond] if self._lost_beyond else [])]
        traces = len(self._lost)
        self._lost, self._lost_beyond = {}, None
        if lost:
            raise EventsLost(self._name, f"events of {traces} traces could not be written: {lost[0]}", lost[0])

    def stop(self, timeout_s: float) -> None:
        """Write what was taken, and end, from any thread; for an interpreter that shuts down."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        thread = self._thread
        if thread not in (None, threading.current_thread()) and self._process == os.getpid():
            thread.join(timeout_s)

    def _enqueue(self, request: Request) -> asyncio.Future[Answer]:
        if self._process != os.getpid():
            self.check(request.trace_id)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        with self._changed:
            self._start()
            self._waiting.append(Waiting(request, future, loop))
        # At the end of this turn of the loop, so that all who write in it are in one group.
        if self._waking is not loop:
            self._waking = loop
            loop.call_soon(self._wake)
        return future

    def _wake(self) -> None:
        self._waking = None
        with self._changed:
            self._changed.notify()

    def _start(self) -> None:
        if self._closing:
            raise StoreClosed(self._name, "the store was closed; open another one")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"penguiflow-state {self._name}", daemon=True)
            self._thread.start()

    async def _wait_for_room(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._closing:
            future: asyncio.Future[None] = loop.create_future()
            with self._changed:
                if len(self._events) + len(self._waiting) < BACKLOG_CAP:
                    return
                self._room.append((future, loop))
                self._changed.notify()
            await future

    def _work(self) -> None:
        try:
            while (batch := self._next()) is not None:
                if batch.events or batch.waiting:
                    self._commit(batch)
        finally:
            try:
                self._backend.close()
            finally:
                with self._changed:
                    self._closing = True
                    ended, self._ended = self._ended, []
                    self._thread = None
                for future, loop in ended:
                    _call(loop, _resolve, future)

    def _next(self) -> Batch | None:
        """Wait for something to commit; None at the end."""
        while True:
            with self._changed:
                now = time.monotonic()
                full = len(self._events) >= GROUP_CAP
                if self._waiting or full or self._closing or (self._due_s is not None and now >= self._due_s):
                    return self._take()
                if self._due_s is not None:
                    self._changed.wait(self._due_s - now)
                    continue
            try:
                again_s = self._backend.idle()
            except Exception:
                logger.exception("%s: what is done while idle failed", self._name)
                again_s = None
            with self._changed:
                if not self._waiting and self._due_s is None and not self._closing:
                    self._changed.wait(again_s)

    def _take(self) -> Batch | None:
        # All events that were taken before a request are committed with it or before it.
        events = list(self._events)
        self._events.clear()
        self._due_s = None
        taken = [self._waiting.popleft() for _ in range(min(GROUP_CAP, len(self._waiting)))]
        room, self._room = self._room, []
        for future, loop in room:
            _call(loop, _resolve, future)
        waiting = [one for one in taken if not one.future.cancelled()]
        return Batch(events, waiting) if events or taken or not self._closing else None

    def _commit(self, batch: Batch) -> None:
        requests = [one.request for one in batch.waiting]
        answers: list[Answer | BaseException]
        try:
            self._backend.open()
        except Exception as error:
            answers = self._none(batch.events, requests, error)
        else:
            self.is_open = True
            try:
                answers = list(self._backend.run(batch.events, requests))
            except Exception as error:
                answers = self._apart(batch.events, requests, error)
        if batch.events:
            with self._changed:
                self._unsettled -= len(batch.events)
        _answer(batch.waiting, answers)

    def _apart(
        self, events: list[EventRow], requests: list[Request], error: BaseException
    ) -> list[Answer | BaseException]:
        """Do each part by itself where together they failed, so that none suffers for another."""
        if self._backend.is_common(error):
            return self._none(events, requests, error)
        by_trace: dict[str, list[EventRow]] = {}
        for event in events:
            by_trace.setdefault(event.trace_id, []).append(event)
        for rows in by_trace.values():
            if isinstance(failure := self._alone(rows, []), BaseException):
                self._lose(rows, failure)
        return [self._alone([], [request]) for request in requests]

    def _none(
        self, events: list[EventRow], requests: list[Request], error: BaseException
    ) -> list[Answer | BaseException]:
        self._lose(events, error)
        return [self._backend.explain(error) for _ in requests]

    def _alone(self, events: list[EventRow], requests: list[Request]) -> Answer | BaseException:
        try:
            answers = self._backend.run(events, requests)
        except Exception as error:
            return self._backend.explain(error)
        return answers[0] if answers else {}

    def _lose(self, events: list[EventRow], error: BaseException) -> None:
        if not events:
            return
        explained = self._backend.explain(error)
        logger.error("%s: %d events could not be written: %s", self._name, len(events), explained)
        with self._changed:
            for event in events:
                if len(self._lost) < LOST_CAP:
                    self._lost[event.trace_id] = explained
                else:
                    self._lost_beyond = explained


def _answer(waiting: list[Waiting], answers: Sequence[Answer | BaseException]) -> None:
    """Hand answers back, with one call for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Answer], Answer | BaseException]]] = {}
    for one, answer in zip(waiting, answers, strict=True):
        by_loop.setdefault(one.loop, []).append((one.future, answer))
    for loop, pairs in by_loop.items():
        _call(loop, _set_all, pairs)


def _set_all(pairs: list[tuple[asyncio.Future[Answer], Answer | BaseException]]) -> None:
    for future, answer in pairs:
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _call(loop: asyncio.AbstractEventLoop, function: object, *arguments: object) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]
    except RuntimeError:
        # The event loop is closed: whoever waited in it is gone.
        logger.debug("an event loop was closed before its answer came")
