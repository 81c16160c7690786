"""One heap for every time-out of a flow: node time-outs, deadlines, back-off."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

__all__ = ["Timer", "Timers"]

# Ended traces leave cancelled timers behind; below this many a sweep costs more than it frees.
_SWEEP_AT = 64


class Timer:
    """A callback at a time of the loop's clock; `cancel` is safe at any moment, also twice."""

    __slots__ = ("_order", "_timers", "callback", "when")

    def __init__(self, timers: Timers, when: float, order: int, callback: Callable[[], None]) -> None:
        self._timers = timers
        self.when = when
        self._order = order
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the callback."""
        if self.callback is not None:
            self.callback = None
            self._timers.note_cancelled()

    def __lt__(self, other: Timer) -> bool:
        return (self.when, self._order) < (other.when, other._order)


class Timers:
    """The heap. Holds one handle of the event loop, for the earliest timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[Timer] = []
        self._handle: asyncio.TimerHandle | None = None
        self._made = 0
        self._cancelled = 0

    def __len__(self) -> int:
        """How many timers will still fire."""
        return len(self._heap) - self._cancelled

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` at `when` of the loop's clock, at once if that has passed."""
        self._made += 1
        timer = Timer(self, when, self._made, callback)
        heapq.heappush(self._heap, timer)
        if self._heap[0] is timer:
            self._arm()
        return timer

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` in `delay_s` seconds."""
        return self.at(self._loop.time() + delay_s, callback)

    def clear(self) -> None:
        """Cancel every timer."""
        self._heap.clear()
        self._cancelled = 0
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def note_cancelled(self) -> None:
        """Sweep once most of the heap is cancelled, so that it stays as small as what is live."""
        self._cancelled += 1
        if self._cancelled > _SWEEP_AT and self._cancelled * 2 > len(self._heap):
            self._heap = [timer for timer in self._heap if timer.callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0
            self._arm()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._heap:
            self._handle = self._loop.call_at(self._heap[0].when, self._fire)

    def _fire(self) -> None:
        self._handle = None
        now = self._loop.time()
        while self._heap and (self._heap[0].when <= now or self._heap[0].callback is None):
            timer = heapq.heappop(self._heap)
            if timer.callback is None:
                self._cancelled -= 1
                continue
            callback, timer.callback = timer.callback, None
            callback()
        if self._handle is None:
            self._arm()
