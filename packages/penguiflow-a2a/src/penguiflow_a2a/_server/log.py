"""The events of one task on their way to its streams, and the last of them for streams that are taken up again."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque

from penguiflow_a2a._server.limits import ServerLimits
from penguiflow_a2a._server.spellings import Event

__all__ = ["EventLog", "Subscription"]


class Subscription:
    """One reader of a log: where it stands, and how long it may take for what waits for it."""

    __slots__ = ("_log", "checkpoint", "checkpoint_at", "dropped", "next_seq", "waiter")

    def __init__(self, log: EventLog, next_seq: int) -> None:
        self._log = log
        self.next_seq = next_seq
        self.dropped = False
        """Whether the reader was too slow, or is not wanted any more: it has to stop."""
        self.waiter: asyncio.Future[None] | None = None
        self.checkpoint: int | None = None
        """Up to where the reader has to come, once the task has begun to wait for it."""
        self.checkpoint_at = 0.0

    def take(self) -> list[Event]:
        """Return the events that wait for the reader; they count as read."""
        log = self._log
        behind = log.next_seq - self.next_seq
        if not behind:
            return []
        found = list(itertools.islice(reversed(log.events), behind))
        found.reverse()
        self.next_seq = log.next_seq
        if self.checkpoint is not None and self.next_seq >= self.checkpoint:
            self.checkpoint = None
        log.make_room()
        return found

    async def wait(self) -> None:
        """Return once there is something to take, or the reader has to stop."""
        if self.next_seq < self._log.next_seq or self.dropped:
            return
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    def drop(self) -> None:
        """Make the reader stop."""
        self.dropped = True
        self.wake()

    def wake(self) -> None:
        """Let `wait` return."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class EventLog:
    """The last events of one task, numbered over all its turns.

    Whoever appends may go on at once; whoever streams waits with `room` first, which is how a slow reader slows the
    nodes that stream. A reader that takes longer than `slow_reader_s` for what waited for it is dropped.
    """

    def __init__(self, limits: ServerLimits, *, next_seq: int = 1) -> None:
        self.events: deque[Event] = deque()
        self.next_seq = next_seq
        self.subscriptions: set[Subscription] = set()
        self._limits = limits
        self._size = 0
        self._blocked: asyncio.Future[None] | None = None

    @property
    def first_seq(self) -> int:
        """The oldest event that can still be replayed."""
        return self.next_seq - len(self.events)

    def append(self, event: Event, size: int) -> None:
        """Add an event of about `size` bytes, and tell the readers."""
        event.seq = self.next_seq
        self.next_seq += 1
        events = self.events
        events.append(event)
        event.size = size
        self._size += size
        limits = self._limits
        while len(events) > limits.replay_events or (self._size > limits.replay_bytes and len(events) > 1):
            self._size -= events.popleft().size
        for subscription in self.subscriptions:
            subscription.wake()

    def subscribe(self, after: int | None = None) -> Subscription:
        """Read what comes from now on, or after the event `after`, which the log has to have still."""
        subscription = Subscription(self, self.next_seq if after is None else after + 1)
        self.subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop reading."""
        self.subscriptions.discard(subscription)
        self.make_room()

    def can_replay(self, after: int) -> bool:
        """Whether every event after `after` is still there."""
        return self.first_seq <= after + 1 <= self.next_seq

    def make_room(self) -> None:
        """Let whoever waits for room look again."""
        if self._blocked is not None and not self._blocked.done():
            self._blocked.set_result(None)

    def is_full(self) -> bool:
        """Whether a reader is so far behind that the task should wait for it."""
        limit = self.next_seq - self._limits.stream_window
        return any(each.next_seq <= limit and not each.dropped for each in self.subscriptions)

    async def room(self) -> None:
        """Wait until no reader is too far behind; those that take too long are dropped."""
        loop = asyncio.get_running_loop()
        while self.is_full():
            limit = self.next_seq - self._limits.stream_window
            patience = self._limits.slow_reader_s
            for each in self.subscriptions:
                if each.next_seq <= limit and not each.dropped:
                    if each.checkpoint is None:
                        each.checkpoint, each.checkpoint_at = self.next_seq, loop.time()
                    left = each.checkpoint_at + self._limits.slow_reader_s - loop.time()
                    patience = min(patience, left)
            if patience <= 0:
                self._drop_slow(loop.time() - self._limits.slow_reader_s)
                continue
            self._blocked = loop.create_future()
            try:
                async with asyncio.timeout(patience):
                    await self._blocked
            except TimeoutError:
                pass
            finally:
                self._blocked = None

    def _drop_slow(self, since: float) -> None:
        for each in self.subscriptions:
            if each.checkpoint is not None and each.checkpoint_at <= since:
                each.drop()
