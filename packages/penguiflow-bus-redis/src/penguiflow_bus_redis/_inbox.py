"""The way out of one queue: messages are read ahead, and each is held by one receiver at a time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import deque

from penguiflow.bus import Delivery
from penguiflow_bus_redis._acks import AckBox
from penguiflow_bus_redis._bell import Bell
from penguiflow_bus_redis._encoding import trace_of
from penguiflow_bus_redis._errors import BusClosed, BusError, ConnectionLost
from penguiflow_bus_redis._links import Args, Link
from penguiflow_bus_redis._outbox import Spawn, refused
from penguiflow_bus_redis._settings import Settings
from penguiflow_bus_redis._shelf import Entry, Shelf

__all__ = ["Inbox"]

_log = logging.getLogger("penguiflow.bus")

_names = itertools.count(1)

_DEAF_S = 0.2
"""How often to look for messages while the bell cannot be heard."""


class _Getter:
    """Someone who waits for a message."""

    __slots__ = ("after_poll", "patient", "served")

    def __init__(self, served: asyncio.Future[Delivery | None], *, patient: bool, after_poll: int) -> None:
        self.served = served
        self.patient = patient
        self.after_poll = after_poll
        """The last poll that began before: one who is not patient is told of the first later one."""


class Inbox:
    """One process as a consumer of one queue.

    It is a member of the queue under a name that it uses once: whoever was held for dead comes back as another member,
    and what the old one held is refused at the server. All that it asks of the server about membership and messages is
    asked by `_task`, one thing at a time.

    Invariant: each message that this member holds at the server is in `_shelf`, in `_leased`, in the acknowledgements
    on their way, or in `_leaving`; where a lost reply puts that in doubt, `_in_doubt` is set until it is so again.
    Getters wait only while nothing on the shelf may be handed out.
    """

    def __init__(self, commands: Link, reader: Link, bell: Bell, settings: Settings, queue: str, spawn: Spawn) -> None:
        self._commands = commands
        self._reader = reader
        self._bell = bell
        self._settings = settings
        self._queue = queue
        self._key = settings.key(queue)
        self._spawn = spawn
        self._acks = AckBox(commands, self._key, spawn)
        self._shelf = Shelf(settings.read_ahead, settings.max_deliveries)
        self._leased: dict[str, Entry] = {}
        self._leaving: set[tuple[str, bytes]] = set()
        self._getters: deque[_Getter] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._now = asyncio.get_running_loop().time
        self._polls = 0
        self._last_asked = 0.0
        self._member: str | None = None
        self.is_listed = True
        """Whether the queue is among those that are looked through for dead letters."""
        self._start_anew()

    @property
    def unused(self) -> bool:
        """Whether it holds nothing, waits for nothing and is no member."""
        return self._task is None and self._acks.unused

    async def get(self, timeout_s: float | None) -> Delivery | None:
        """Hand out the next message; None if none comes in time."""
        self._last_asked = self._now()
        if not self._getters and self._last_asked < self._alive_until and (entry := self._shelf.take()):
            if self._shelf.is_hungry:
                self._wake.set()
            return self._lease(entry)
        patient = timeout_s is None or timeout_s > 0
        getter = _Getter(asyncio.get_running_loop().create_future(), patient=patient, after_poll=self._polls)
        self._getters.append(getter)
        self._stir()
        try:
            async with asyncio.timeout(timeout_s if patient else self._settings.give_up_s) as limit:
                return await getter.served
        except BaseException as error:
            if getter in self._getters:
                self._getters.remove(getter)
            elif not getter.served.cancelled() and getter.served.exception() is None:
                self._unserve(getter.served.result())
            if isinstance(error, TimeoutError) and limit.expired():
                return None
            raise
        finally:
            self._last_asked = self._now()

    async def ack(self, delivery: Delivery) -> None:
        """Acknowledge a message; returns when that is on its way."""
        entry = self._leased.pop(delivery.token, None)
        if entry is not None:
            self._acks.add(entry.member, entry.place, entry.entry_id)
            self._ended(entry)
            await self._acks.wait_for_room()

    async def nack(self, delivery: Delivery, delay_s: float) -> None:
        """Give a message back; returns when Redis has it."""
        entry = self._leased.pop(delivery.token, None)
        if entry is None:
            return
        self._ended(entry)
        trace = trace_of(entry.message)
        # What was read of its trace later comes again after it.
        later = self._shelf.withdraw(entry, trace) if trace else []
        held = trace if delay_s > 0 else ""
        giving = self._give_back([entry], later, delay_s=delay_s, trace=held, reason="it was given back")
        await asyncio.shield(self._spawn(giving))

    async def extend(self, delivery: Delivery) -> bool:
        """Hold a message for a whole lease from now; false where others may hold it."""
        entry = self._leased.get(delivery.token)
        if entry is None:
            return False
        partition, band = entry.place.split(":")
        held = await self._commands.insist("holds", self._key, entry.member, partition, band, entry.entry_id)
        if self._leased.pop(delivery.token, None) is None:
            return False
        if held:
            entry.deadline = self._now() + self._settings.lease_s
            self._leased[delivery.token] = entry
        return bool(held)

    def ring(self, kind: str) -> None:
        """Hear the bell: "n" there are messages, "b" there are other members."""
        if kind == "n":
            self._is_rung = True
        else:
            self._next_beat = 0.0
        self._wake.set()

    async def close(self) -> None:
        """Give everything back, and leave the queue."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for getter in self._getters:
            if not getter.served.done():
                getter.served.set_exception(BusClosed())
        self._getters.clear()
        await self._acks.flush()
        if self._member is not None:
            held = list(self._leased.values())
            self._leased.clear()
            await self._give_back(held, [], reason="the bus that had it was closed")
            await self._reader.insist("leave", self._key, self._member, 1, 0)

    # What follows runs in `_task`, or between its steps.

    def _start_anew(self) -> None:
        self._member = None
        self._alive_until = 0.0
        self._next_beat = 0.0
        self._next_due = float("inf")
        self._next_lapse = float("inf")
        self._is_rung = True
        self._in_doubt = False
        self._owned: set[int] = set()
        self._shelf.clear()
        self._leased.clear()

    def _stir(self) -> None:
        if self._task is None:
            self._task = self._spawn(self._run())
        self._wake.set()

    def _lease(self, entry: Entry) -> Delivery:
        token = f"{entry.member}/{entry.place}/{entry.entry_id.decode()}/{entry.attempt}"
        entry.deadline = self._now() + self._settings.lease_s
        self._leased[token] = entry
        return Delivery(self._queue, entry.message, token, entry.attempt)

    def _unserve(self, delivery: Delivery | None) -> None:
        """Take back what was handed to someone who had just given up: nobody has seen it."""
        entry = None if delivery is None else self._leased.pop(delivery.token, None)
        if entry is not None:
            self._shelf.put_back(entry)
            self._wake.set()

    def _ended(self, entry: Entry) -> None:
        if self._shelf.ended(entry) or not self._leased:
            self._wake.set()

    @property
    def _is_wanting(self) -> bool:
        return bool(self._getters) or self._now() < self._last_asked + self._settings.linger_s

    async def _run(self) -> None:
        try:
            while True:
                self._wake.clear()
                try:
                    if await self._step():
                        continue
                except ConnectionLost:
                    self._in_doubt = True
                    self._next_beat = 0.0
                    continue
                except BusError as error:
                    self._fail(refused(error, self._queue, self._settings.partitions))
                if self._member is None and not self._getters:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self._next_time()):
                        await self._wake.wait()
        finally:
            self._task = None

    def _fail(self, error: Exception) -> None:
        _log.warning("queue %r: %s", self._queue, error)
        for getter in self._getters:
            if not getter.served.done():
                getter.served.set_exception(error)
        self._getters.clear()
        self._start_anew()

    async def _step(self) -> bool:
        """Do the next thing there is to do; false where there is none until a time or the bell."""
        if self._in_doubt:
            await self._settle()
        if await self._end_leases():
            return True
        if not self._is_wanting and self._member is not None and (self._owned or not self._leased):
            await self._leave()
            return True
        await self._serve()
        if self._must_poll():
            await self._poll()
            await self._serve()
            return True
        return False

    def _next_time(self) -> float:
        times = [self._next_beat, self._next_due, self._next_lapse]
        if self._leased:
            times.append(next(iter(self._leased.values())).deadline)
        if not self._getters and self._owned:
            times.append(self._last_asked + self._settings.linger_s)
        if self._getters and not self._bell.is_up:
            times.append(self._now() + _DEAF_S)
            self._is_rung = True
        # Never at once: a time that has come and is not acted on would keep the loop busy.
        return max(min(times), self._now() + 0.001)

    def _must_poll(self) -> bool:
        now = self._now()
        if self._member is None:
            return bool(self._getters)
        if now >= min(self._next_beat, self._next_lapse):
            return True
        if not self._is_wanting:
            return False
        if self._is_rung or now >= self._next_due or any(not getter.patient for getter in self._getters):
            return True
        return self._shelf.is_hungry

    async def _poll(self) -> None:
        settings = self._settings
        mode = "fetch"
        if self._member is None:
            self._member = f"{settings.channel}.{next(_names)}"
            mode = "join"
            if self.is_listed:
                await self._reader.insist_command("SADD", f"{settings.prefix}:queues", self._queue)
        elif self._now() >= min(self._next_beat, self._next_lapse):
            mode = "beat"
        wants = self._shelf.wants()
        self._polls += 1
        self._is_rung = False
        asked_s = self._now()
        if mode != "fetch":
            # Before the reply, so that a ring on the way to it asks for another.
            self._next_beat = asked_s + self._settings.beat_s
        reply = await self._reader.script(
            "poll", self._key, self._member, mode, settings.lease_ms, int(self._is_wanting), settings.partitions,
            settings.max_deliveries or 0, settings.max_dead, *wants,
        )  # fmt: skip
        if reply[0] == b"gone":
            _log.warning("queue %r: this consumer was away for longer than its lease; it comes back anew", self._queue)
            self._start_anew()
            for getter in self._getters:
                getter.after_poll = self._polls
            return
        _, due_ms, lapse_ms, surplus, mine, returned, fresh = reply
        self._owned = set(mine)
        self._next_due = float("inf") if due_ms < 0 else self._now() + due_ms / 1000
        if mode != "fetch":
            self._alive_until = asked_s + settings.lease_s
            self._next_lapse = float("inf") if lapse_ms < 0 else self._now() + (lapse_ms + 1) / 1000
        broken = self._shelf.fill(self._member, returned, fresh)
        if broken:
            await self._give_back(broken, [], most=1, reason="it is not JSON")
        if surplus:
            await self._release(set(sorted(self._owned)[-surplus:]))

    async def _serve(self) -> None:
        """Hand out what is on the shelf to those who wait, and say so to those who would not."""
        while self._getters:
            entry = self._shelf.take()
            if entry is None:
                count = min(len(self._getters), self._shelf.count_returned())
                if not count:
                    break
                await self._count_returned(count)
                continue
            getter = self._getters.popleft()
            if getter.served.done():
                self._shelf.put_back(entry)
            else:
                getter.served.set_result(self._lease(entry))
        for getter in [one for one in self._getters if not one.patient and one.after_poll < self._polls]:
            self._getters.remove(getter)
            if not getter.served.done():
                getter.served.set_result(None)

    async def _count_returned(self, count: int) -> None:
        """Have the server count messages that came back as delivered, before they are.

        So what makes its receivers crash is counted, and what was only read ahead by them is not.
        """
        chosen = self._shelf.choose_returned(count)
        names: list[Args] = [f"{entry.place}:{entry.entry_id.decode()}" for entry in chosen]
        assert self._member is not None
        try:
            alive = await self._reader.insist("hand_out", self._key, self._member, *names)
        except BaseException:
            for entry in reversed(chosen):
                self._shelf.put_back(entry)
            raise
        if alive:
            self._shelf.counted(chosen)
        else:
            self._start_anew()

    async def _end_leases(self) -> bool:
        now = self._now()
        # In order of their deadlines, since each lease is as long and one that is extended goes to the end.
        ended = list(itertools.takewhile(lambda token: self._leased[token].deadline <= now, self._leased))
        if not ended:
            return False
        entries = [self._leased.pop(token) for token in ended]
        for entry in entries:
            self._shelf.ended(entry)
        await self._give_back(entries, [], reason="its lease ended")
        self._is_rung = True
        return True

    async def _settle(self) -> None:
        """Give back what a lost reply would have brought."""
        if self._member is not None:
            known = self._shelf.names() | self._acks.underway | self._leaving
            known |= {(entry.place, entry.entry_id) for entry in self._leased.values()}
            found = await self._reader.script("held", self._key, self._member)
            unknown = [
                (place.decode(), one) for place, ids in found for one in ids if (place.decode(), one) not in known
            ]
            lost = [Entry(self._member, place, entry_id, None, 0) for place, entry_id in unknown]
            await self._give_back([], lost, reason="")
            self._is_rung = True
        self._in_doubt = False

    async def _give_back(
        self,
        delivered: list[Entry],
        unseen: list[Entry],
        *,
        delay_s: float = 0.0,
        trace: str = "",
        most: int | None = None,
        reason: str,
    ) -> None:
        entries = [(entry, entry.attempt + 1) for entry in delivered] + [(entry, 0) for entry in unseen]
        if not entries:
            return
        settings = self._settings
        args: list[Args] = []
        for entry, attempts in entries:
            args += (*entry.place.split(":"), entry.entry_id, attempts, trace)
        names = {(entry.place, entry.entry_id) for entry, _ in entries}
        self._leaving |= names
        try:
            most = most or settings.max_deliveries or 0
            await self._commands.insist(
                "give_back",
                self._key,
                entries[0][0].member,
                round(delay_s * 1000),
                most,
                settings.max_dead,
                reason,
                *args,
            )
        finally:
            self._leaving -= names
        self.ring("n")

    async def _release(self, partitions: set[int]) -> None:
        """Give partitions up to other members, with what was read of them ahead."""
        entries = self._shelf.remove(partitions)
        self._owned -= partitions
        args: list[Args] = [0, len(partitions), *partitions]
        await self._send_leave(args, entries)
        self._is_rung = True

    async def _leave(self) -> None:
        """Leave the messages to others, and the queue as soon as nothing of it is held."""
        await self._acks.flush()
        if self._is_wanting:
            return
        entries = self._shelf.remove(None)
        for_good = not self._leased and not self._leaving
        args: list[Args] = [1 if for_good else 2, len(self._owned), *self._owned]
        self._owned = set()
        await self._send_leave(args, entries)
        if for_good:
            self._start_anew()
        else:
            self._next_beat = 0.0

    async def _send_leave(self, args: list[Args], entries: list[Entry]) -> None:
        assert self._member is not None
        for entry in entries:
            args += (*entry.place.split(":"), entry.entry_id)
        names = {(entry.place, entry.entry_id) for entry in entries}
        self._leaving |= names
        try:
            await self._reader.insist("leave", self._key, self._member, *args)
        finally:
            self._leaving -= names
