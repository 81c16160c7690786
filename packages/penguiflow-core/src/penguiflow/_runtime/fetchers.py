"""Nodes that pull further messages of their own trace; see `Context.fetch`."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penguiflow._runtime.context import Context
    from penguiflow._runtime.run import Run
    from penguiflow._runtime.station import Station

__all__ = ["Fetchers"]


class Fetchers:
    """The invocations of one run that wait for a message.

    A waiting invocation is no work that could send one: when only such are left, each is told that nothing more
    will come.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: dict[Station, deque[asyncio.Future[Context | None]]] = {}
        self._calls: dict[Context, asyncio.Future[Context | None]] = {}
        """The fetch of each invocation that waits."""

    async def turn(self, ctx: Context) -> None:
        """Wait until no other fetch of the invocation waits: it counts as one piece of work, and as one caller."""
        while (call := self._calls.get(ctx)) is not None:
            await asyncio.wait([call])

    async def fetch(self, ctx: Context) -> Context | None:
        """Wait for the next message at the node of `ctx`; None once nothing is left that could send one."""
        station = ctx._station
        future: asyncio.Future[Context | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(station, deque()).append(future)
        self._calls[ctx] = future
        run = self._run
        run.pending -= 1
        # Its slot may be what the message it waits for needs, further up. Calls that wait here stay bounded all the
        # same: each waits for work of its trace elsewhere, and that work is bounded.
        station.free_slot()
        try:
            if not run.pending:
                run.settle()
            return await future
        except asyncio.CancelledError:
            taken = None if future.cancelled() or not future.done() else future.result()
            if taken is not None and not run.done:
                # Nothing is lost: what was handed over is the first in line again.
                station.return_waiting(taken)
            raise
        finally:
            station.active += 1
            del self._calls[ctx]
            waiting = self._waiting.get(station)
            if waiting is not None and future in waiting:
                waiting.remove(future)
                run.pending += 1

    def hand(self, station: Station, ctx: Context) -> bool:
        """Give a message that comes in to whoever waits for it; false if nobody does.

        It passes the inbox by: that may be full of other traces, which the waiting node holds up.
        """
        waiting = self._waiting.get(station)
        while waiting:
            future = waiting.popleft()
            self._run.pending += 1
            if not future.done():
                self._run.pending += 1
                ctx._counted = False
                future.set_result(ctx)
                return True
        return False

    def exhausted(self) -> bool:
        """Tell every waiting invocation that nothing more will come; say whether there was any."""
        futures = [future for waiting in self._waiting.values() for future in waiting if not future.done()]
        for waiting in self._waiting.values():
            self._run.pending += len(waiting)
            waiting.clear()
        for future in futures:
            future.set_result(None)
        return bool(futures)
