"""One queue of the bus in process."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Bury", "InProcQueue", "Lease"]

Bury: TypeAlias = Callable[[Any, str, int], None]
"""What takes a message that was delivered too often, the reason, and the number of its deliveries."""

_tokens = itertools.count(1)


class Lease(NamedTuple):
    """One handing-out of a message."""

    token: str
    message: Any
    attempt: int


class _Letter:
    """A message in a queue, waiting or handed out."""

    __slots__ = ("attempt", "message", "place", "timer", "trace_id")

    def __init__(self, number: int, message: Any) -> None:
        self.place = (-_band(message), number)
        """Its place in the order of the queue, which it keeps when it comes back."""
        self.message = message
        self.trace_id = _trace_of(message)
        self.attempt = 0
        self.timer: asyncio.TimerHandle | None = None
        """While it is handed out: the end of its lease. While it is delayed: the end of that."""

    def __lt__(self, other: _Letter) -> bool:
        return self.place < other.place

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class InProcQueue:
    """Messages in order, bounded, each with a lease while someone has it.

    Invariant: `_held` counts the messages that are not acknowledged: those in `_ready`, those in `_leased`, those in
    `_delayed`, those in `_behind`, which wait for a delayed one of their trace, and those whose producer was let in and
    has yet to run. Receivers wait only while nothing is ready, producers only while `_held` is at the bound.
    """

    def __init__(self, maxsize: int, lease_s: float, max_deliveries: int | None, bury: Bury) -> None:
        self._maxsize = maxsize
        self._lease_s = lease_s
        self._max_deliveries = max_deliveries
        self._bury = bury
        self._held = 0
        self._last_number = 0
        self._ready: list[_Letter] = []
        self._leased: dict[str, _Letter] = {}
        self._delayed: set[_Letter] = set()
        self._delayed_traces: Counter[str] = Counter()
        self._behind: dict[str, list[_Letter]] = {}
        self._getters: deque[asyncio.Future[Lease]] = deque()
        self._putters: deque[tuple[asyncio.Future[_Letter], Any]] = deque()

    @property
    def unused(self) -> bool:
        """Whether the queue holds nothing and nobody waits at it."""
        return not (self._held or self._getters or self._putters)

    async def put(self, message: Any) -> None:
        """Add a message, in order of arrival, once there is room."""
        if self._held < self._maxsize and not self._putters:
            self._offer(self._admit(message))
            return
        room: asyncio.Future[_Letter] = asyncio.get_running_loop().create_future()
        place = (room, message)
        self._putters.append(place)
        try:
            letter = await room
        except BaseException:
            if place in self._putters:
                self._putters.remove(place)
            elif not room.cancelled():
                self._give_up_place()
            raise
        self._offer(letter)

    async def get(self, timeout_s: float | None) -> Lease | None:
        """Hand out the next message, None if none comes in time."""
        if self._ready:
            return self._lease(heapq.heappop(self._ready))
        if timeout_s is not None and timeout_s <= 0:
            return None
        getter: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._getters.append(getter)
        try:
            async with asyncio.timeout(timeout_s) as limit:
                return await getter
        except BaseException as error:
            if getter in self._getters:
                self._getters.remove(getter)
            elif not getter.cancelled():
                # Handed over at the very moment the wait was given up: nobody has seen it.
                self._take_back(getter.result())
            if isinstance(error, TimeoutError) and limit.expired():
                return None
            raise

    def ack(self, token: str) -> None:
        """Forget a message that was handed out under `token`."""
        if self._release(token) is not None:
            self._give_up_place()

    def nack(self, token: str, delay_s: float) -> None:
        """Take a message back, to be handed out again after a delay; later ones of its trace wait for it."""
        self._return(token, delay_s, "it was given back")

    def extend(self, token: str) -> bool:
        """Start the lease of a message anew; false where it has ended."""
        letter = self._leased.get(token)
        if letter is None:
            return False
        letter.stop_timer()
        self._start_lease(letter, token)
        return True

    def forget(self) -> None:
        """Drop every message, handed out or not; producers that wait are let in."""
        letters = [*self._ready, *self._leased.values(), *self._delayed, *itertools.chain(*self._behind.values())]
        for letter in letters:
            letter.stop_timer()
        for kept in (self._ready, self._leased, self._delayed, self._delayed_traces, self._behind):
            kept.clear()
        for _ in letters:
            self._give_up_place()

    def _admit(self, message: Any) -> _Letter:
        self._held += 1
        self._last_number += 1
        return _Letter(self._last_number, message)

    def _give_up_place(self) -> None:
        self._held -= 1
        while self._putters and self._held < self._maxsize:
            room, message = self._putters.popleft()
            if not room.done():
                room.set_result(self._admit(message))

    def _offer(self, *letters: _Letter) -> None:
        for letter in letters:
            if letter.trace_id is not None and letter.trace_id in self._delayed_traces:
                self._behind.setdefault(letter.trace_id, []).append(letter)
            else:
                heapq.heappush(self._ready, letter)
        while self._ready and self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(self._lease(heapq.heappop(self._ready)))

    def _return(self, token: str, delay_s: float, reason: str) -> None:
        letter = self._release(token)
        if letter is None:
            return
        letter.attempt += 1
        if self._max_deliveries is not None and letter.attempt >= self._max_deliveries:
            self._bury(letter.message, f"delivered {letter.attempt} times, last {reason}", letter.attempt)
            self._give_up_place()
        elif delay_s > 0:
            self._delay(letter, delay_s)
        else:
            self._offer(letter)

    def _delay(self, letter: _Letter, delay_s: float) -> None:
        self._delayed.add(letter)
        letter.timer = asyncio.get_running_loop().call_later(delay_s, self._end_delay, letter)
        if letter.trace_id is None:
            return
        self._delayed_traces[letter.trace_id] += 1
        later = [one for one in self._ready if one.trace_id == letter.trace_id]
        if later:
            self._ready = [one for one in self._ready if one.trace_id != letter.trace_id]
            heapq.heapify(self._ready)
            self._behind.setdefault(letter.trace_id, []).extend(later)

    def _end_delay(self, letter: _Letter) -> None:
        letter.timer = None
        self._delayed.discard(letter)
        if letter.trace_id is None:
            self._offer(letter)
            return
        self._delayed_traces[letter.trace_id] -= 1
        if self._delayed_traces[letter.trace_id]:
            heapq.heappush(self._ready, letter)
            self._offer()
        else:
            del self._delayed_traces[letter.trace_id]
            self._offer(letter, *sorted(self._behind.pop(letter.trace_id, [])))

    def _lease(self, letter: _Letter) -> Lease:
        token = str(next(_tokens))
        self._start_lease(letter, token)
        self._leased[token] = letter
        return Lease(token, letter.message, letter.attempt)

    def _start_lease(self, letter: _Letter, token: str) -> None:
        loop = asyncio.get_running_loop()
        letter.timer = loop.call_later(self._lease_s, self._return, token, 0.0, "its lease ended")

    def _take_back(self, lease: Lease) -> None:
        letter = self._release(lease.token)
        if letter is not None:
            self._offer(letter)

    def _release(self, token: str) -> _Letter | None:
        letter = self._leased.pop(token, None)
        if letter is not None:
            letter.stop_timer()
        return letter


def _trace_of(message: Any) -> str | None:
    trace_id = message.get("trace_id") if isinstance(message, dict) else None
    return trace_id if isinstance(trace_id, str) else None


def _band(message: Any) -> int:
    priority = message.get("priority", 0) if isinstance(message, dict) else 0
    if not isinstance(priority, int):
        return 0
    return (priority > 0) - (priority < 0)
