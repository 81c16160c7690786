"""Where the values of emitted traces wait for `fetch()`."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penguiflow._runtime.blocking import Blocked, BlockingQueue
from penguiflow._runtime.context import Context
from penguiflow.errors import FlowError
from penguiflow.types import Payload

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run

__all__ = ["Rookery"]


@dataclass(slots=True)
class _Item:
    """One value, or the error of a failed trace, on its way to `fetch()`."""

    run: Run
    exit_name: str | None
    value: Payload
    error: FlowError | None = None


class _Exit(BlockingQueue):
    """The values of one exit node. A full one makes that node wait, and no other exit."""

    __slots__ = ("_rookery", "count", "name")

    def __init__(self, rookery: Rookery, name: str) -> None:
        super().__init__()
        self._rookery = rookery
        self.name = name
        self.count = 0

    def offer(self, ctx: Context) -> bool:
        if self.count >= self._rookery.maxsize and not self._rookery.unbounded:
            return False
        self._rookery.give_at_once(ctx._run, self.name, ctx._value)
        return True


class Rookery:
    """Values of emitted traces in order of arrival, bounded for each exit.

    A producer at a full exit waits without holding a slot of its node, so traces that someone reads are not held up;
    so that such producers stay few, `emit` waits while as many of them wait as a queue holds.
    """

    def __init__(self, maxsize: int, *, errors_as_values: bool) -> None:
        self.maxsize = maxsize
        self.unbounded = False
        """Set while the flow drains: whoever stops it need not fetch at the same time."""
        self._errors_as_values = errors_as_values
        self._items: deque[_Item] = deque()
        self._exits: dict[str, _Exit] = {}
        self._fetchers: deque[asyncio.Future[_Item]] = deque()
        self._closed: FlowError | None = None
        self._emitters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """How many values and errors wait."""
        return len(self._items)

    def queues(self) -> list[BlockingQueue]:
        """Return the exits, each a queue at which producers may wait."""
        return list(self._exits.values())

    @property
    def congested(self) -> bool:
        """Whether so many producers wait that no further trace should be emitted."""
        return sum(len(waiting) for exit_ in self._exits.values() for waiting in exit_.blocked.values()) >= self.maxsize

    async def wait_for_room(self) -> None:
        """Wait until no longer congested."""
        while self.congested and self._closed is None:
            emitter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._emitters.append(emitter)
            await emitter

    def has_room(self, exit_name: str) -> bool:
        """Say whether a value of this exit would be taken at once."""
        exit_ = self._exits.get(exit_name)
        return exit_ is None or self.unbounded or (not exit_.blocked and exit_.count < self.maxsize)

    def give(self, ctx: Context, value: Payload) -> Blocked | None:
        """Add a value that the node of `ctx` gave; returns what to wait for where its exit is full."""
        exit_name = ctx._station.name
        exit_ = self._exits.get(exit_name)
        if exit_ is None:
            exit_ = self._exits[exit_name] = _Exit(self, exit_name)
        given = Context(ctx._run, ctx._station, value, ctx._hop, None)
        if not exit_.blocked and exit_.offer(given):
            return None
        return Blocked(exit_, given, lends_slot=True)

    def give_at_once(self, run: Run, exit_name: str, value: Payload) -> None:
        """Add a value, whatever the bound."""
        exit_ = self._exits.get(exit_name)
        if exit_ is None:
            exit_ = self._exits[exit_name] = _Exit(self, exit_name)
        exit_.count += 1
        self._put(_Item(run, exit_name, value))

    def failed(self, run: Run, error: FlowError) -> None:
        """Tell whoever fetches that an emitted trace has failed."""
        if self._errors_as_values:
            self._put(_Item(run, None, error))
        else:
            self._put(_Item(run, None, None, error))

    async def fetch(self, *, timeout_s: float | None = None) -> Payload:
        """Return the next value. Fetchers are served in order; one that is cancelled or times out loses nothing."""
        if self._items:
            return self._open(self._take())
        if self._closed is not None:
            raise self._closed.with_traceback(None)
        future: asyncio.Future[_Item] = asyncio.get_running_loop().create_future()
        self._fetchers.append(future)
        try:
            async with asyncio.timeout(timeout_s):
                item = await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                # Handed over at the very moment the wait was given up: it is the first in line again.
                self._items.appendleft(future.result())
                self._serve()
            elif future in self._fetchers:
                self._fetchers.remove(future)
            raise
        self._taken(item)
        return self._open(item)

    def drain(self) -> None:
        """Let every waiting producer in, because the flow is about to stop."""
        self.unbounded = True
        for exit_ in tuple(self._exits.values()):
            while exit_.blocked:
                exit_.admit_next()

    def close(self, error: FlowError) -> None:
        """Tell those who wait in vain that the flow has stopped; what has arrived can still be fetched."""
        self._closed = error
        self._wake_emitters()
        while self._fetchers:
            future = self._fetchers.popleft()
            if not future.done():
                future.set_exception(error.with_traceback(None))

    def _put(self, item: _Item) -> None:
        self._items.append(item)
        self._serve()

    def _serve(self) -> None:
        while self._items and self._fetchers:
            future = self._fetchers.popleft()
            if not future.done():
                future.set_result(self._items.popleft())

    def _take(self) -> _Item:
        item = self._items.popleft()
        self._taken(item)
        return item

    def _taken(self, item: _Item) -> None:
        exit_ = self._exits.get(item.exit_name) if item.exit_name is not None else None
        if exit_ is None:
            return
        exit_.count -= 1
        if exit_.blocked:
            while exit_.blocked and exit_.count < self.maxsize:
                exit_.admit_next()
        elif not exit_.count:
            del self._exits[exit_.name]
        self._wake_emitters()

    def _wake_emitters(self) -> None:
        while self._emitters and (self._closed is not None or not self.congested):
            emitter = self._emitters.popleft()
            if not emitter.done():
                emitter.set_result(None)

    def _open(self, item: _Item) -> Payload:
        events = item.run.runtime.events
        if events is not None:
            events.post("fetch", item.run)
        if item.error is not None:
            raise item.error.with_traceback(None)
        return item.value
