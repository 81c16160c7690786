"""The message bus on Redis Streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from penguiflow.bus import DeadLetter, Delivery
from penguiflow_bus_redis._bell import Bell
from penguiflow_bus_redis._dead import list_dead, replay_dead
from penguiflow_bus_redis._errors import BusClosed, BusMisconfigured
from penguiflow_bus_redis._inbox import Inbox
from penguiflow_bus_redis._links import Dialer, Link
from penguiflow_bus_redis._outbox import Outbox
from penguiflow_bus_redis._settings import Settings

__all__ = ["RedisMessageBus", "open_url"]

_CLOSE_S = 5.0
_ROOM_S = 0.2


class RedisMessageBus:
    """A `MessageBus` on Redis 6.2 or later, or Valkey, for flows over many processes.

    Delivery is at least once. A queue is divided into partitions by the hash of a message's `trace_id`, each read by
    one process at a time, so messages of a trace are first delivered in the order in which they were put; messages
    without one are in the order of the whole queue. `priority` chooses one of three bands (positive, zero, negative),
    which go first to last; keep it the same for all messages of a trace, or they may pass each other.

    `put` returns when Redis has the message; whether it outlives a crash of Redis is for `appendfsync` to say. A `put`
    whose connection breaks before the reply is made again, so the message may be in twice: receivers drop ids that
    they know. One that is cancelled while it waits for room adds nothing; one that is cancelled while its reply is on
    the way may be in. `ack` returns as soon as it is on its way with others. `nack` and `extend` return when Redis
    has answered; it refuses what comes from a process that was taken for dead, which holds none of its messages any
    longer. While Redis cannot be reached, calls wait, and after `give_up_s` raise `BusUnavailable`.

    A bus belongs to the event loop in which it is first used. `async with` it, or `aclose` it: that gives back what it
    holds.

    Args:
        url: `redis://`, `rediss://`, `valkey://` or `unix://`, as redis-py takes it.
        prefix: what the names of all keys and channels begin with; buses with the same one share their queues.
        max_len: how many messages that are not acknowledged a queue holds; `put` waits for room, nothing is trimmed.
        lease_s: how long a message is held before someone else gets it, and how long a process may be silent before it
            is taken for dead, in seconds.
        max_deliveries: a message that was delivered so often and comes back is a dead letter; None: never.
        max_dead: about how many dead letters of a queue are kept; the oldest go first.
        partitions: how many processes can read a queue at a time; the same for every bus with this prefix.
        read_ahead: how many messages of each band and queue are read before someone asks for them.
        give_up_s: how long calls wait for a Redis that is away, in seconds.

    Raises:
        BusMisconfigured: an option is not usable.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "penguiflow",
        max_len: int = 10_000,
        lease_s: float = 30.0,
        max_deliveries: int | None = 10,
        max_dead: int = 10_000,
        partitions: int = 16,
        read_ahead: int = 128,
        give_up_s: float = 60.0,
    ) -> None:
        self._settings = Settings(
            url, prefix, max_len, lease_s, max_deliveries, max_dead, partitions, read_ahead, give_up_s
        )
        dialer = Dialer(url)
        self._commands = Link(dialer, give_up_s=give_up_s)
        self._reader = Link(dialer, give_up_s=give_up_s)
        self._bell = Bell(dialer, self._settings.channel, rung=self._rung, missed=self._missed)
        self._outboxes: dict[str, Outbox] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._by_key: dict[str, str] = {}
        self._rooms: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passing: set[str] = set()
        self._is_open = False
        self._is_closed = False

    @property
    def lease_s(self) -> float:
        """How long a delivery is held, in seconds; see `ExtendableLeases`."""
        return self._settings.lease_s

    async def put(self, queue: str, message: Any) -> None:
        """Add a message; see `MessageBus`.

        Raises:
            MessageNotJson: JSON cannot hold the message.
            PartitionsDiffer: the queue was begun with another number of partitions.
            BusUnavailable, BusRefused, BusClosed: see there.
        """
        await self._outbox(queue).put(message)

    async def put_many(self, queue: str, messages: Sequence[Any]) -> None:
        """Add messages in this order; see `BatchedPuts`. Raises what `put` does."""
        if messages:
            await self._outbox(queue).put_many(list(messages))

    async def get(self, queue: str, timeout_s: float | None = None) -> Delivery | None:
        """Take the next message; see `MessageBus`. A `timeout_s` of 0 asks Redis once.

        Raises:
            PartitionsDiffer: the queue was begun with another number of partitions.
            BusUnavailable, BusRefused, BusClosed: see there.
        """
        return await self._inbox(queue).get(timeout_s)

    async def ack(self, delivery: Delivery) -> None:
        """Acknowledge a message; see `MessageBus`. Returns when it is on its way."""
        inbox = self._inboxes.get(delivery.queue)
        if inbox is not None:
            await inbox.ack(delivery)

    async def nack(self, delivery: Delivery, delay_s: float = 0.0) -> None:
        """Give a message back; see `MessageBus`. While it is delayed, later ones of its trace wait behind it.

        Raises:
            BusMisconfigured: `delay_s` is negative.
            BusUnavailable, BusRefused, BusClosed: see there.
        """
        if not delay_s >= 0:
            raise BusMisconfigured(f"delay_s={delay_s!r} is not usable: it must be zero or more seconds")
        inbox = self._inboxes.get(delivery.queue)
        if inbox is not None:
            await inbox.nack(delivery, delay_s)

    async def extend(self, delivery: Delivery) -> bool:
        """Hold a delivery longer; see `ExtendableLeases`.

        Raises:
            BusUnavailable, BusRefused, BusClosed: see there.
        """
        inbox = self._inboxes.get(delivery.queue)
        return inbox is not None and await inbox.extend(delivery)

    async def expire(self, queue: str, ttl_s: float) -> None:
        """Forget a queue unless this is called again in time; see `ExpiringQueues`.

        What is put into a queue that was forgotten within the last day lives for `ttl_s` seconds too.

        Raises:
            BusMisconfigured: `ttl_s` is not positive.
            BusUnavailable, BusRefused, BusClosed: see there.
        """
        if not ttl_s > 0:
            raise BusMisconfigured(f"ttl_s={ttl_s!r} is not usable: it must be a positive number of seconds")
        self._open()
        if queue not in self._passing:
            self._passing.add(queue)
            if queue in self._inboxes:
                self._inboxes[queue].is_listed = False
            await self._commands.insist_command("SREM", f"{self._settings.prefix}:queues", queue)
        settings = self._settings
        await self._commands.insist("expire", settings.key(queue), max(1, round(ttl_s * 1000)), settings.partitions)

    async def list_dead(self, queue: str | None = None, *, limit: int = 100) -> list[DeadLetter]:
        """Return dead letters, the oldest first; see `DeadLetters`."""
        self._open()
        return await list_dead(self._commands, self._settings, queue, limit)

    async def replay_dead(self, queue: str, letter_ids: Sequence[str] | None = None) -> int:
        """Put dead letters back into their queue, waiting while that is full; see `DeadLetters`."""
        self._open()
        return await replay_dead(self._commands, self._settings, queue, letter_ids, self._wait_for_room)

    async def aclose(self) -> None:
        """Send what is acknowledged, give the rest back and close the connections; calls that wait raise `BusClosed`.

        Where Redis cannot be reached within 5 seconds, its messages go to others when their leases end.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._is_open:
                # Given back in time, messages need not wait for their leases to end.
                async with asyncio.timeout(_CLOSE_S):
                    await asyncio.gather(*(inbox.close() for inbox in self._inboxes.values()), return_exceptions=True)
        except TimeoutError:
            pass
        finally:
            for task in list(self._tasks):
                task.cancel()
            parts = [self._commands.stop(), self._reader.stop(), self._bell.stop()]
            await asyncio.gather(*self._tasks, *parts, return_exceptions=True)

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _open(self) -> None:
        if self._is_closed:
            raise BusClosed
        if not self._is_open:
            self._is_open = True
            for part in (self._commands, self._reader, self._bell):
                part.start()

    def _outbox(self, queue: str) -> Outbox:
        self._open()
        found = self._outboxes.get(queue)
        if found is None:
            self._drop_unused(self._outboxes)
            found = self._outboxes[queue] = Outbox(self._commands, self._settings, queue, self._spawn)
            self._by_key[self._settings.key(queue)] = queue
        return found

    def _inbox(self, queue: str) -> Inbox:
        self._open()
        found = self._inboxes.get(queue)
        if found is None:
            self._drop_unused(self._inboxes)
            found = Inbox(self._commands, self._reader, self._bell, self._settings, queue, self._spawn)
            found.is_listed = queue not in self._passing
            self._inboxes[queue] = found
            self._by_key[self._settings.key(queue)] = queue
        return found

    def _drop_unused(self, boxes: dict[str, Any]) -> None:
        """Forget queues that are not in use, when there are many: each reply goes to a queue of its own process."""
        if len(boxes) < 64 or len(boxes) & (len(boxes) - 1):
            return
        for queue in [queue for queue, box in boxes.items() if box.unused]:
            del boxes[queue]
        self._by_key = {self._settings.key(queue): queue for queue in (*self._inboxes, *self._outboxes)}

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _rung(self, kind: str, key: str) -> None:
        queue = self._by_key.get(key)
        if kind == "r":
            for event in self._rooms:
                event.set()
            if queue in self._outboxes:
                self._outboxes[queue].room()
        elif queue in self._inboxes:
            self._inboxes[queue].ring(kind)

    def _missed(self) -> None:
        for outbox in self._outboxes.values():
            outbox.room()
        for inbox in self._inboxes.values():
            for kind in ("n", "b"):
                inbox.ring(kind)

    async def _wait_for_room(self) -> None:
        event = asyncio.Event()
        self._rooms.add(event)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ROOM_S):
                    await event.wait()
        finally:
            self._rooms.discard(event)


_IN_URL: dict[str, Callable[[str], Any]] = {
    "prefix": str,
    "max_len": int,
    "lease_s": float,
    "max_deliveries": int,
    "partitions": int,
}


def open_url(url: str) -> RedisMessageBus:
    """Return a bus for a URL, as the command line does; nothing is connected before its first use.

    `prefix`, `max_len`, `lease_s`, `max_deliveries` and `partitions` may stand in its query, as in
    `redis://localhost/0?lease_s=5`; what else stands there is for the Redis client.

    Raises:
        BusMisconfigured: one of them is not usable.
    """
    parts = urlsplit(url)
    options: dict[str, Any] = {}
    rest = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _IN_URL:
            rest.append((name, value))
            continue
        try:
            options[name] = _IN_URL[name](value)
        except ValueError:
            raise BusMisconfigured(f"{name}={value} in the URL of the bus is not usable: it is no number") from None
    return RedisMessageBus(urlunsplit(parts._replace(query=urlencode(rest))), **options)
