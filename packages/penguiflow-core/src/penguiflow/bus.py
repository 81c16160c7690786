"""What carries messages between the processes of a flow: the MessageBus protocol, and one in process."""

from __future__ import annotations

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
        """Add a message; waits while the queue is full. Cancelled while it waits, nothing was added."""
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
    neither acknowledged nor given back within `lease_s` seconds is handed out again, before any that was put later.
    Messages are passed on as they are, not copied. A queue takes memory only while it holds something or someone
    waits at it.

    Raises:
        FlowDefinitionError: a bound is not positive.
    """

    def __init__(self, *, maxsize: int = 1024, lease_s: float = 30.0) -> None:
        if maxsize < 1:
            raise invalid_bound("maxsize", maxsize, "at least 1 message")
        if not lease_s > 0:
            raise invalid_bound("lease_s", lease_s, "a positive number of seconds")
        self._maxsize = maxsize
        self._lease_s = lease_s
        self._queues: dict[str, InProcQueue] = {}

    async def put(self, queue: str, message: Any) -> None:
        """Add a message; see `MessageBus`."""
        try:
            await self._open(queue).put(message)
        finally:
            self._drop_if_unused(queue)

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

    def _open(self, queue: str) -> InProcQueue:
        found = self._queues.get(queue)
        if found is None:
            found = self._queues[queue] = InProcQueue(self._maxsize, self._lease_s)
        return found

    def _drop_if_unused(self, queue: str) -> None:
        found = self._queues.get(queue)
        if found is not None and found.unused:
            del self._queues[queue]
