"""Connections to Redis: calls go out together, replies come in the order of the calls."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from penguiflow_bus_redis import _scripts
from penguiflow_bus_redis._errors import BusClosed, BusMisconfigured, BusRefused, BusUnavailable, ConnectionLost

__all__ = ["Dialer", "Link", "first_of", "stay_connected"]

_log = logging.getLogger("penguiflow.bus")

_CONNECT_S = 5.0
_REPLY_S = 15.0
"""How long a reply may take before the connection counts as broken: Redis may be loading, or the peer be gone."""
_INSIST = 50
"""So many connections in a row break by no accident."""
_BACK_OFF_S = (0.02, 1.0)
_TRY_AGAIN = ("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "TRYAGAIN", "MISCONF")
"""Replies of a server that is on its way to being well again."""

Args: TypeAlias = str | bytes | int


class Dialer:
    """Makes connections to one Redis, without any retry or time limit of their own."""

    def __init__(self, url: str) -> None:
        try:
            options: dict[str, Any] = dict(parse_url(url.replace("valkey", "redis", 1) if url[:6] == "valkey" else url))
        except ValueError as error:
            raise BusMisconfigured(f"url={_without_password(url)!r} is not usable: {error}") from None
        self._class: type[AbstractConnection] = options.pop("connection_class", Connection)
        options.pop("max_connections", None)
        self._options = {
            **options,
            "decode_responses": False,
            "health_check_interval": 0,
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": _CONNECT_S,
            "socket_timeout": None,
        }
        self.url = _without_password(url)

    async def dial(self) -> AbstractConnection:
        """Return a connection that is ready for commands."""
        connection = self._class(**self._options)
        try:
            async with asyncio.timeout(_CONNECT_S):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await hang_up(connection)
            raise
        return connection


async def hang_up(connection: AbstractConnection) -> None:
    """Close a connection, whatever state it is in."""
    with contextlib.suppress(Exception):
        await connection.disconnect(nowait=True)


def _without_password(url: str) -> str:
    scheme, found, rest = url.partition("://")
    return scheme + found + rest.rpartition("@")[2]


async def stay_connected(
    dialer: Dialer, serve: Callable[[AbstractConnection], Awaitable[None]], down: Callable[[str], None]
) -> None:
    """Connect and `serve` for ever, backing off while that fails; `down` hears why there is no connection."""
    pause_s, most_s = _BACK_OFF_S
    while True:
        try:
            connection = await dialer.dial()
            try:
                pause_s = _BACK_OFF_S[0]
                await serve(connection)
            finally:
                await hang_up(connection)
        except (RedisError, OSError, TimeoutError, ConnectionLost) as error:
            down(str(error) or type(error).__name__)
        # Spread out, so that the buses of many processes do not come back all at once.
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(pause_s * 2, most_s)


async def first_of(*parts: Awaitable[None]) -> None:
    """Run all until one ends, which it does by raising, and raise what that raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        # They only wait for the socket and for events, so this ends at once.
        await asyncio.gather(*tasks, return_exceptions=True)


class Link:
    """A connection for calls, made anew when it breaks.

    Invariant: `_awaited` holds the futures of exactly the commands that were handed to the present connection and have
    no reply yet, in order; it is emptied when the connection is given up, and no other one ever reads for it.
    """

    def __init__(self, dialer: Dialer, *, give_up_s: float) -> None:
        self._dialer = dialer
        self._give_up_s = give_up_s
        self._connection: AbstractConnection | None = None
        self._awaited: deque[asyncio.Future[Any]] = deque()
        self._outgoing: list[bytes] = []
        self._something = asyncio.Event()
        self._faulty = asyncio.Event()
        self._up = asyncio.Event()
        self._problem = "it was never reached"
        self._task: asyncio.Task[None] | None = None
        self._hashes = {name: _hash_of(name) for name in _scripts.NAMES}
        self._replies = 0
        self.has_ackdel = False
        """Whether the server takes acknowledged entries away in one command."""

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._task = asyncio.create_task(stay_connected(self._dialer, self._serve, self._down))

    async def stop(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def script(self, name: str, key: str, *args: Args) -> Any:
        """Run a script on the keys of one queue, waiting for a connection and for a server that is well.

        Raises:
            ConnectionLost: the connection broke before the reply came.
            BusUnavailable, BusRefused: see there.
        """
        return await self.command("EVALSHA", self._hashes[name], 1, key, *args)

    async def insist(self, name: str, key: str, *args: Args) -> Any:
        """Run a script as `script` does, again where a connection broke: it may be carried out more than once."""
        return await self.insist_command("EVALSHA", self._hashes[name], 1, key, *args)

    async def insist_command(self, *command: Args) -> Any:
        """Run a command as `insist` does a script."""
        for _ in range(_INSIST):
            try:
                return await self.command(*command)
            except ConnectionLost as error:
                self._problem = str(error)
        raise BusUnavailable(self._dialer.url, 0, f"{_INSIST} connections broke during the same command")

    async def command(self, *command: Args) -> Any:
        """Run a command; as `script`."""
        pause_s = _BACK_OFF_S[0]
        while True:
            if self._connection is None:
                await self._connected()
            try:
                return await self._send(command)
            except NoScriptError:
                # The server has forgotten its scripts, as after a fail-over; a new connection loads them.
                self._connection = None
                self._up.clear()
                self._faulty.set()
            except ResponseError as error:
                if not str(error).startswith(_TRY_AGAIN) or pause_s > _BACK_OFF_S[1] * 2:
                    raise BusRefused(str(command[0]), str(error)) from error
                await asyncio.sleep(pause_s)
                pause_s *= 2

    def _send(self, command: tuple[Args, ...]) -> asyncio.Future[Any]:
        if self._connection is None:
            raise ConnectionLost(self._problem)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._outgoing.extend(self._connection.pack_command(*command))
        self._awaited.append(reply)
        self._something.set()
        return reply

    async def _connected(self) -> None:
        while self._connection is None:
            if self._task is None or self._task.done():
                raise BusClosed
            try:
                async with asyncio.timeout(self._give_up_s):
                    await self._up.wait()
            except TimeoutError:
                raise BusUnavailable(self._dialer.url, self._give_up_s, self._problem) from None

    async def _serve(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(_REPLY_S):
            await self._prepare(connection)
        self._connection = connection
        self._up.set()
        try:
            await first_of(self._read(connection), self._write(connection), self._watch())
        finally:
            self._lose("the connection broke")

    async def _prepare(self, connection: AbstractConnection) -> None:
        for name in _scripts.NAMES:
            await connection.send_command("SCRIPT", "LOAD", _scripts.source(name), check_health=False)
            await connection.read_response()
        await connection.send_command("COMMAND", "INFO", "XACKDEL", check_health=False)
        described = await connection.read_response()
        self.has_ackdel = bool(described and described[0])

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            try:
                reply = await connection.read_response()
            except ResponseError as error:
                reply = error
            self._replies += 1
            future = self._awaited.popleft()
            if future.done():
                continue
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            chunks, self._outgoing = self._outgoing, []
            if chunks:
                await connection.send_packed_command(chunks, check_health=False)

    async def _watch(self) -> None:
        """End where commands wait for replies and none comes, and where another connection is needed."""
        self._faulty.clear()
        while True:
            before = self._replies
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REPLY_S):
                    await self._faulty.wait()
            if self._faulty.is_set() or (self._awaited and self._replies == before):
                raise ConnectionLost(f"no reply for {_REPLY_S:g} s, or none of use")

    def _lose(self, problem: str) -> None:
        self._connection = None
        self._up.clear()
        self._outgoing.clear()
        waiting, self._awaited = self._awaited, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(ConnectionLost(problem))

    def _down(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("no connection to Redis at %s: %s", self._dialer.url, problem)
        self._problem = problem


def _hash_of(name: str) -> str:
    # The name that Redis gives a script is its SHA-1; nothing is kept secret by it.
    return hashlib.sha1(_scripts.source(name).encode(), usedforsecurity=False).hexdigest()
