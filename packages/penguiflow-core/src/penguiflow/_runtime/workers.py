"""The tasks that run nodes: one pool a flow, which grows while invocations are suspended."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque

from penguiflow._runtime.invocation import begin
from penguiflow._runtime.station import ORDINARY, URGENT, Station

__all__ = ["Workers"]

# Messages one worker handles before it lets the event loop breathe: timers, sockets and cancellation need their turn
# even where no node ever awaits. Large enough to cost nothing, small enough for well under a millisecond.
_BURST = 64
# One turn in so many goes to a station that is not urgent, so that a busy one starves nobody.
_ORDINARY_EVERY = 4
# Idle workers kept for the next burst.
_KEEP_IDLE = 64


class Workers:
    """Runs whatever is runnable, whichever node it belongs to.

    A worker whose node returns goes on with the next runnable station, often the successor it has just fed, without
    a trip through the event loop. One whose node suspends stays with it and wakes another for the rest.

    Stations wait in line, each at most once, and get one message handled at a turn. Invariant: while one is in line,
    some worker is executing or has been woken (`hot`). The stations' limits bound the number of busy workers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.runnable: deque[Station] = deque()
        self.urgent: deque[Station] = deque()
        """Runnable stations whose inbox is more than half full: draining them first keeps producers from blocking."""
        self.hot = False
        self.closed = False
        self._loop = loop
        self._idle: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many workers there are."""
        return len(self._tasks)

    def __contains__(self, task: object) -> bool:
        """Say whether a task is one of the workers."""
        return task in self._tasks

    def wake(self) -> None:
        """Have one more worker look at what is runnable."""
        if self.closed:
            return
        self.hot = True
        while self._idle:
            sleeper = self._idle.pop()
            if not sleeper.done():
                sleeper.set_result(None)
                return
        # An empty context: a worker must not carry the variables of whoever happened to start it. And not by the task
        # factory of the loop: an eager one would run the worker inside the call that wakes it.
        task = asyncio.Task(self._work(), loop=self._loop, name="penguiflow-worker", context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def pause(self) -> None:
        """Called by a worker that is about to suspend: others go on with what is runnable."""
        self.hot = False
        if self.runnable or self.urgent:
            self.wake()

    async def stop(self, timeout_s: float) -> None:
        """Cancel every worker and wait for them, at most `timeout_s` seconds."""
        self.closed = True
        tasks = set(self._tasks)
        tasks.discard(asyncio.current_task())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    async def _work(self) -> None:
        try:
            await self._serve()
        finally:
            self.pause()

    async def _serve(self) -> None:
        runnable, urgent = self.runnable, self.urgent
        task = asyncio.current_task()
        assert task is not None
        handled = 1
        while True:
            if urgent and (handled % _ORDINARY_EVERY or not runnable):
                station, line = urgent.popleft(), URGENT
            elif runnable:
                station, line = runnable.popleft(), ORDINARY
            else:
                self.hot = False
                if len(self._idle) >= _KEEP_IDLE:
                    return
                # An idle worker must not keep the last message alive.
                ctx = invocation = None
                sleeper = self._loop.create_future()
                self._idle.append(sleeper)
                await sleeper
                handled = 1
                continue
            if station.lined != line:
                continue
            station.lined = 0
            handled += 1
            ctx = station.take()
            if ctx is None:
                continue
            try:
                invocation = begin(ctx)
                if invocation is not None and not await invocation.run(self, task):
                    # Cancelled for the sake of its invocation: the task ends, what is runnable goes to another.
                    return
                if task.cancelling():
                    # The node has cancelled the task it ran in; no other node must meet that.
                    return
            except Exception as error:
                # Nothing that a node does leads here; whoever awaits the trace must not be left waiting for a defect.
                ctx._run.runtime.crashed(ctx._run, error)
            if handled >= _BURST:
                handled = 1
                await asyncio.sleep(0)
                self.hot = True
