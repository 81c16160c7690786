"""One queue of the bus in process."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from typing import Any, NamedTuple

__all__ = ["InProcQueue", "Lease"]

_tokens = itertools.count(1)


class Lease(NamedTuple):
    """One handing-out of a message."""

    token: str
    message: Any
    attempt: int


class _Letter:
    """A message in a queue, waiting or handed out."""

    __slots__ = ("attempt", "message", "place", "timer")

    def __init__(self, place: int, message: Any) -> None:
        self.place = place
        """Its place in the order of the queue, which it keeps when it comes back."""
        self.message = message
        self.attempt = 0
        self.timer: asyncio.TimerHandle | None = None
        """While it is handed out: the end of its lease. While it is delayed: the end of that."""

    def __lt__(self, other: _Letter) -> bool:
        return self.place < other.place


class InProcQueue:
    """Messages in order, bounded, each with a lease while someone has it.

    Invariant: `_held` counts the messages that are not acknowledged: those in `_ready`, those in `_leased`, those that
    wait for the end of a delay, and those whose producer was let in and has yet to run. Receivers wait only while
    nothing is ready, producers only while `_held` is at the bound.
    """

    def __init__(self, maxsize: int, lease_s: float) -> None:
        self._maxsize = maxsize
        self._lease_s = lease_s
        self._held = 0
        self._next_place = 0
        self._ready: list[_Letter] = []
        self._leased: dict[str, _Letter] = {}
        self._getters: deque[asyncio.Future[Lease]] = deque()
        self._putters: deque[tuple[asyncio.Future[_Letter], Any]] = deque()

    @property
    def unused(self) -> bool:
        """Whether the queue holds nothing and nobody waits at it."""
        return not (self._held or self._getters or self._putters)

    async def put(self, message: Any) -> None:
        """Add a message, in order of arrival, once there is room."""
        if self._held < self._maxsize and not self._putters:
            self._back(self._admit(message))
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
        self._back(letter)

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
        """Take a message back, to be handed out again after a delay."""
        letter = self._release(token)
        if letter is None:
            return
        letter.attempt += 1
        if delay_s > 0:
            letter.timer = asyncio.get_running_loop().call_later(delay_s, self._back, letter)
        else:
            self._back(letter)

    def _admit(self, message: Any) -> _Letter:
        self._held += 1
        self._next_place += 1
        return _Letter(self._next_place, message)

    def _give_up_place(self) -> None:
        self._held -= 1
        while self._putters and self._held < self._maxsize:
            room, message = self._putters.popleft()
            if not room.done():
                room.set_result(self._admit(message))

    def _back(self, letter: _Letter) -> None:
        letter.timer = None
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(self._lease(letter))
                return
        heapq.heappush(self._ready, letter)

    def _lease(self, letter: _Letter) -> Lease:
        token = str(next(_tokens))
        letter.timer = asyncio.get_running_loop().call_later(self._lease_s, self.nack, token, 0.0)
        self._leased[token] = letter
        return Lease(token, letter.message, letter.attempt)

    def _take_back(self, lease: Lease) -> None:
        letter = self._release(lease.token)
        if letter is not None:
            self._back(letter)

    def _release(self, token: str) -> _Letter | None:
        letter = self._leased.pop(token, None)
        if letter is not None and letter.timer is not None:
            letter.timer.cancel()
            letter.timer = None
        return letter
