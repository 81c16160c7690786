"""Acknowledgements of one queue, gathered."""

from __future__ import annotations

import asyncio
from collections import deque

from penguiflow_bus_redis._errors import BusError
from penguiflow_bus_redis._links import Args, Link
from penguiflow_bus_redis._outbox import Spawn

__all__ = ["AckBox"]

_BATCH = 500
_BOUND = 4096
"""So many acknowledgements may be on their way before whoever makes another one has to wait."""


class AckBox:
    """Acknowledgements on their way to Redis.

    Invariant: what is in `_waiting` or `_sent` may still be pending at the server; while there is any, `_task` runs.
    """

    def __init__(self, link: Link, key: str, spawn: Spawn) -> None:
        self._link = link
        self._key = key
        self._spawn = spawn
        self._waiting: deque[tuple[str, str, bytes]] = deque()
        self._sent: list[tuple[str, str, bytes]] = []
        self._fewer = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def underway(self) -> set[tuple[str, bytes]]:
        """Place and id of all that may still be pending at the server."""
        return {(place, entry_id) for _, place, entry_id in (*self._waiting, *self._sent)}

    @property
    def unused(self) -> bool:
        """Whether nothing is on its way."""
        return self._task is None

    def add(self, member: str, place: str, entry_id: bytes) -> None:
        """Acknowledge a message with the next batch, which goes out before anything else happens in this process."""
        self._waiting.append((member, place, entry_id))
        if self._task is None:
            self._task = self._spawn(self._send_all())

    async def wait_for_room(self) -> None:
        """Wait while too many are on their way."""
        while len(self._waiting) > _BOUND:
            self._fewer.clear()
            await self._fewer.wait()

    async def flush(self) -> None:
        """Wait until all are with Redis."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                self._sent = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                for member in dict.fromkeys(member for member, _, _ in self._sent):
                    await self._send(member)
                self._fewer.set()
        except BusError:
            # Redis was away for longer than the bus waits, and so for longer than anyone would hold the messages: they
            # are delivered again, as those of a consumer that died.
            self._waiting.clear()
        finally:
            self._sent = []
            self._fewer.set()
            self._task = None

    async def _send(self, member: str) -> None:
        ids: dict[str, list[bytes]] = {}
        for owner, place, entry_id in self._sent:
            if owner == member:
                ids.setdefault(place, []).append(entry_id)
        args: list[Args] = []
        for place, group in ids.items():
            args += (place, len(group), *group)
        await self._link.insist("ack", self._key, member, int(self._link.has_ackdel), *args)
