"""The way into one queue: messages that were put at about the same time go together."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from penguiflow_bus_redis._encoding import encode, place_of
from penguiflow_bus_redis._errors import BusClosed, BusRefused, PartitionsDiffer
from penguiflow_bus_redis._links import Link
from penguiflow_bus_redis._settings import Settings

__all__ = ["Outbox", "Spawn", "refused"]

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Starts a task that the bus owns."""

_BATCH = 512
_BATCH_BYTES = 1 << 20
_ROOM_S = 1.0
"""How often a producer that waits for room looks by itself, should it not hear the bell."""


class _Put:
    """One message on its way."""

    __slots__ = ("done", "payload", "place")

    def __init__(self, place: str, payload: bytes, done: asyncio.Future[None]) -> None:
        self.place = place
        self.payload = payload
        self.done = done


class Outbox:
    """What one process puts into one queue, in order.

    Invariant: messages leave `_waiting` from the front, into one batch at a time, so neither a refusal nor a broken
    connection changes their order. While `_waiting` holds any, `_task` runs.
    """

    def __init__(self, link: Link, settings: Settings, queue: str, spawn: Spawn) -> None:
        self._link = link
        self._settings = settings
        self._queue = queue
        self._key = settings.key(queue)
        self._spawn = spawn
        self._waiting: deque[_Put] = deque()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def unused(self) -> bool:
        """Whether nothing is on its way."""
        return self._task is None

    def room(self) -> None:
        """Look again whether the queue has room."""
        self._room.set()

    async def put(self, message: Any) -> None:
        """Add a message; returns when Redis has it."""
        payload = encode(self._queue, message)
        await self._add([(place_of(message, self._settings.partitions), payload)])

    async def put_many(self, messages: list[Any]) -> None:
        """Add messages in this order; returns when Redis has all of them."""
        partitions = self._settings.partitions
        await self._add([(place_of(message, partitions), encode(self._queue, message)) for message in messages])

    async def _add(self, messages: list[tuple[str, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        puts = [_Put(place, payload, loop.create_future()) for place, payload in messages]
        self._waiting.extend(puts)
        if self._task is None:
            self._task = self._spawn(self._send_all())
        try:
            for put in puts:
                await put.done
        finally:
            # Where this is given up, what was not sent is not; a later error of one is the same as of the first.
            for put in puts:
                if put.done.done() and not put.done.cancelled():
                    put.done.exception()
                else:
                    put.done.cancel()

    async def _send_all(self) -> None:
        try:
            while batch := self._next_batch():
                await self._send(batch)
                # Lets those whose messages are in put their next, which then go together.
                await asyncio.sleep(0)
        finally:
            self._task = None
            for put in self._waiting:
                if not put.done.done():
                    put.done.set_exception(BusClosed())
            self._waiting.clear()

    async def _send(self, batch: list[_Put]) -> None:
        settings = self._settings
        messages = [part for put in batch for part in (put.place, put.payload)]
        self._room.clear()
        try:
            taken = await self._link.insist(
                "put", self._key, settings.max_len, settings.partitions, settings.channel, *messages
            )
        except Exception as error:
            problem = refused(error, self._queue, settings.partitions)
            for put in batch:
                if not put.done.done():
                    put.done.set_exception(problem)
            return
        for put in batch[:taken]:
            if not put.done.done():
                put.done.set_result(None)
        if taken < len(batch):
            self._waiting.extendleft(reversed(batch[taken:]))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ROOM_S):
                    await self._room.wait()

    def _next_batch(self) -> list[_Put]:
        batch: list[_Put] = []
        size_bytes = 0
        while self._waiting and len(batch) < _BATCH and size_bytes < _BATCH_BYTES:
            put = self._waiting.popleft()
            if not put.done.done():
                batch.append(put)
                size_bytes += len(put.payload)
        return batch


def refused(error: Exception, queue: str, partitions: int) -> Exception:
    """Return what a user is told of an error of a script."""
    if isinstance(error, BusRefused) and error.reply.startswith("PARTITIONS "):
        return PartitionsDiffer(queue, partitions, int(error.reply.split()[1]))
    return error
