"""How a bus hears that something waits for it, without asking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from redis.asyncio.connection import AbstractConnection

from penguiflow_bus_redis._errors import ConnectionLost
from penguiflow_bus_redis._links import Dialer, first_of, stay_connected

__all__ = ["Bell"]

_PING_S = 5.0


class Bell:
    """A connection that only listens.

    `rung` is called with a letter, which says what for, and the key of a queue: "n" there are messages, "b" other
    members came or went, "r" there is room. What is rung while there is no connection is lost, so `missed` is called
    whenever there is one again; and whoever waits looks by itself now and then while `is_up` is false.
    """

    def __init__(
        self, dialer: Dialer, channel: str, *, rung: Callable[[str, str], None], missed: Callable[[], None]
    ) -> None:
        self._dialer = dialer
        self._channel = channel
        self._rung = rung
        self._missed = missed
        self._answers = 0
        self._task: asyncio.Task[None] | None = None
        self.is_up = False

    def start(self) -> None:
        """Listen until `stop`."""
        self._task = asyncio.create_task(stay_connected(self._dialer, self._serve, lambda problem: None))

    async def stop(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _serve(self, connection: AbstractConnection) -> None:
        await connection.send_command("SUBSCRIBE", self._channel, check_health=False)
        try:
            await first_of(self._listen(connection), self._watch(connection))
        finally:
            self.is_up = False

    async def _listen(self, connection: AbstractConnection) -> None:
        while True:
            kind, _, *rest = await connection.read_response()
            self._answers += 1
            if kind == b"subscribe":
                self.is_up = True
                self._missed()
            elif kind == b"message":
                text = rest[0].decode()
                self._rung(text[:1], text[1:])

    async def _watch(self, connection: AbstractConnection) -> None:
        """End where the other side does not answer."""
        while True:
            before = self._answers
            await connection.send_command("PING", check_health=False)
            await asyncio.sleep(_PING_S)
            if self._answers == before:
                raise ConnectionLost(f"no answer for {_PING_S:g} s")
