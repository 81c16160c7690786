"""What carries messages between the processes of a flow: the MessageBus protocol, and one in process."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from penguiflow._bounds import invalid_bound
from penguiflow._inproc_queue import InProcQueue

__all__ = [
    "BatchedPuts",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "ExpiringQueues",
    "ExtendableLeases",
    "InProcBus",
    "MessageBus",
]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was handed out and has to be acknowledged."""

    queue: str
    """The queue it came from."""
    message: Any
    """The message as it was put."""
    token: str
    """What names this one handing-out to the bus; another one of the same message has another token."""
    attempt: int = 0
    """How often the message was handed out before."""


@runtime_checkable
class MessageBus(Protocol):
    """Queues with at-least-once delivery.

    A message that `put` has returned for is delivered until it is acknowledged: when whoever got it dies, or holds it
    longer than the lease of the bus, someone else gets it. So it may come more than once, and receivers drop ids they
    have seen. Each message goes to one receiver at a time. Messages of a queue are handed out in the order in which
    they were put, except that one which comes back may come after later ones.

    Queues are bounded and come into being when they are first used. A message is what JSON can hold. Where it is a
    dict, a bus may read two of its keys: `trace_id`, a string, names what has to keep its order, and `priority`, a
    whole number, says what goes first. All calls may come from many tasks at once.
    """

    async def put(self, queue: str, message: Any) -> None:
        """Add a message; waits while the queue is full. Cancelled while it waits, nothing was added.

        Whoever sends goes by what is raised. With any other exception than these the message is put again, until it
        is in or its trace has ended.

        Raises:
            ValueError, TypeError: neither now nor later does the bus take this message, or anything for this queue.
            RuntimeError: the bus is closed.
        """
        ...

    async def get(self, queue: str, timeout_s: float | None = None) -> Delivery | None:
        """Take the next message, waiting for one at most `timeout_s` seconds (None: for ever); None if none came.

        Cancelled or timed out, it loses no message.
        """
        ...

    async def ack(self, delivery: Delivery) -> None:
        """Acknowledge: the message is not delivered again. Without effect where the lease has ended, or done twice."""
        ...

    async def nack(self, delivery: Delivery, delay_s: float = 0.0) -> None:
        """Give the message back, to be delivered again after `delay_s` seconds. Without effect where `ack` is."""
        ...


@runtime_checkable
class BatchedPuts(Protocol):
    """A bus that takes several messages in one call."""

    async def put_many(self, queue: str, messages: Sequence[Any]) -> None:
        """Add messages in this order, as `put` does each. Cancelled while it waits, the first few may be in."""
        ...


@runtime_checkable
class ExtendableLeases(Protocol):
    """A bus whose deliveries can be held longer."""

    @property
    def lease_s(self) -> float:
        """How long a delivery is held before the message goes to someone else, in seconds."""
        ...

    async def extend(self, delivery: Delivery) -> bool:
        """Hold a delivery for `lease_s` seconds from now; false where the lease has ended already."""
        ...


@runtime_checkable
class ExpiringQueues(Protocol):
    """A bus that forgets queues whose reader is gone."""

    async def expire(self, queue: str, ttl_s: float) -> None:
        """Forget a queue, and all in it, unless this is called again within `ttl_s` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was delivered too often, and is no longer."""

    queue: str
    """The queue it was put into."""
    letter_id: str
    """What names it among the dead letters of the queue."""
    message: Any
    reason: str
    """Why it is dead."""
    attempts: int
    """How often it was delivered."""
    dead_s: float
    """When it was given up, seconds since the epoch."""


@runtime_checkable
class DeadLetters(Protocol):
    """A bus that keeps messages which were delivered too often apart."""

    async def list_dead(self, queue: str | None = None, *, limit: int = 100) -> list[DeadLetter]:
        """Return dead letters, of one queue or of all, the oldest first."""
        ...

    async def replay_dead(self, queue: str, letter_ids: Sequence[str] | None = None) -> int:
        """Put dead letters back into their queue, those named or all, as if new; returns how many."""
        ...


class InProcBus:
    """A `MessageBus` within one process and one event loop, for tests and for flows in one place.

    A queue holds at most `maxsize` messages that are not acknowledged, those handed out included. A message that is
    neither acknowledged nor given back within `lease_s` seconds, nor extended, is handed out again, before any that was
    put later. One that was delivered `max_deliveries` times (None: no limit) and still comes back becomes a dead
    letter; the last `max_dead` of those are kept. Where messages are dicts, those with a positive `priority` go first
    and those with a negative one last, and while one is given back with a delay, later ones of its `trace_id` wait
    behind it. Messages are passed on as they are, not copied. A queue takes memory only while it holds something,
    someone waits at it, or `expire` was called for it.

    Raises:
        FlowDefinitionError: a bound is not positive.
    """

    def __init__(
        self,
        *,
        maxsize: int = 1024,
        lease_s: float = 30.0,
        max_deliveries: int | None = 10,
        max_dead: int = 1024,
    ) -> None:
        for name, bound in (("maxsize", maxsize), ("max_deliveries", max_deliveries), ("max_dead", max_dead)):
            if bound is not None and bound < 1:
                raise invalid_bound(name, bound, "at least 1 message" if name != "max_deliveries" else "at least 1")
        if not lease_s > 0:
            raise invalid_bound("lease_s", lease_s, "a positive number of seconds")
        self._maxsize = maxsize
        self._lease_s = lease_s
        self._max_deliveries = max_deliveries
        self._max_dead = max_dead
        self._queues: dict[str, InProcQueue] = {}
        self._expiries: dict[str, asyncio.TimerHandle] = {}
        self._dead: dict[str, DeadLetter] = {}
        self._letter_ids = itertools.count(1)

    @property
    def lease_s(self) -> float:
        """How long a delivery is held, in seconds; see `ExtendableLeases`."""
        return self._lease_s

    async def put(self, queue: str, message: Any) -> None:
        """Add a message; see `MessageBus`."""
        try:
            await self._open(queue).put(message)
        finally:
            self._drop_if_unused(queue)

    async def put_many(self, queue: str, messages: Sequence[Any]) -> None:
        """Add messages in this order; see `BatchedPuts`."""
        for message in messages:
            await self.put(queue, message)

    async def get(self, queue: str, timeout_s: float | None = None) -> Delivery | None:
        """Take the next message; see `MessageBus`. A `timeout_s` of 0 takes what is there."""
        try:
            handed = await self._open(queue).get(timeout_s)
        finally:
            self._drop_if_unused(queue)
        return None if handed is None else Delivery(queue, handed.message, handed.token, handed.attempt)

    async def ack(self, delivery: Delivery) -> None:
        """Acknowledge a message; see `MessageBus`."""
        found = self._queues.get(delivery.queue)
        if found is not None:
            found.ack(delivery.token)
            self._drop_if_unused(delivery.queue)

    async def nack(self, delivery: Delivery, delay_s: float = 0.0) -> None:
        """Give a message back; see `MessageBus`.

        Raises:
            FlowDefinitionError: `delay_s` is negative.
        """
        if not delay_s >= 0:
            raise invalid_bound("delay_s", delay_s, "zero or more seconds")
        found = self._queues.get(delivery.queue)
        if found is not None:
            found.nack(delivery.token, delay_s)
            self._drop_if_unused(delivery.queue)

    async def extend(self, delivery: Delivery) -> bool:
        """Hold a delivery longer; see `ExtendableLeases`."""
        found = self._queues.get(delivery.queue)
        return found is not None and found.extend(delivery.token)

    async def expire(self, queue: str, ttl_s: float) -> None:
        """Forget a queue unless this is called again in time; see `ExpiringQueues`.

        Producers that wait at it then are let in, for `ttl_s` seconds more.

        Raises:
            FlowDefinitionError: `ttl_s` is not positive.
        """
        if not ttl_s > 0:
            raise invalid_bound("ttl_s", ttl_s, "a positive number of seconds")
        before = self._expiries.pop(queue, None)
        if before is not None:
            before.cancel()
        self._expiries[queue] = asyncio.get_running_loop().call_later(ttl_s, self._forget, queue, ttl_s)

    async def list_dead(self, queue: str | None = None, *, limit: int = 100) -> list[DeadLetter]:
        """Return dead letters, the oldest first; see `DeadLetters`."""
        found = (letter for letter in self._dead.values() if queue is None or letter.queue == queue)
        return list(itertools.islice(found, limit))

    async def replay_dead(self, queue: str, letter_ids: Sequence[str] | None = None) -> int:
        """Put dead letters back into their queue; see `DeadLetters`. Waits while the queue is full."""
        wanted = None if letter_ids is None else set(letter_ids)
        chosen = [letter for letter in self._dead.values() if letter.queue == queue]
        replayed = 0
        for letter in chosen:
            if (wanted is None or letter.letter_id in wanted) and letter.letter_id in self._dead:
                del self._dead[letter.letter_id]
                try:
                    await self.put(queue, letter.message)
                except BaseException:
                    self._keep_dead(letter)
                    raise
                replayed += 1
        return replayed

    def _open(self, queue: str) -> InProcQueue:
        found = self._queues.get(queue)
        if found is None:

            def bury(message: Any, reason: str, attempts: int) -> None:
                letter_id = str(next(self._letter_ids))
                self._keep_dead(DeadLetter(queue, letter_id, message, reason, attempts, time.time()))

            found = self._queues[queue] = InProcQueue(self._maxsize, self._lease_s, self._max_deliveries, bury)
        return found

    def _keep_dead(self, letter: DeadLetter) -> None:
        self._dead[letter.letter_id] = letter
        while len(self._dead) > self._max_dead:
            del self._dead[next(iter(self._dead))]

    def _forget(self, queue: str, ttl_s: float) -> None:
        del self._expiries[queue]
        found = self._queues.get(queue)
        if found is None:
            return
        found.forget()
        self._drop_if_unused(queue)
        if queue in self._queues:
            self._expiries[queue] = asyncio.get_running_loop().call_later(ttl_s, self._forget, queue, ttl_s)

    def _drop_if_unused(self, queue: str) -> None:
        found = self._queues.get(queue)
        if found is not None and found.unused:
            del self._queues[queue]
