"""One HTTP request and its reply: within bounds, without redirects, and honest about what the agent may have got."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from pydantic_core import from_json

from penguiflow_a2a._client.bounds import A2ATimeouts, AnswerLimits
from penguiflow_a2a._client.failures import (
    AgentElsewhere,
    AgentMisbehaved,
    AgentTooSlow,
    AgentUnreachable,
    AnswerTooLarge,
)
from penguiflow_a2a._client.sse import EventTooLarge, ServerSentEvent, SseParser

if TYPE_CHECKING:
    from httpx._types import AuthTypes

__all__ = ["Exchange", "Reply", "Request"]

_ERROR_BYTES = 64 << 10
"""How much of an error is read: enough for what it says."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of an agent."""

    method: str
    url: str
    what: str
    """What it is for, as an error calls it."""
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    rpc_id: str | None = None
    """The id that the answer has to bear, over JSON-RPC."""


class Exchange:
    """Sends requests to one agent over a client of httpx."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        agent_url: str,
        *,
        auth: AuthTypes | None,
        headers: Mapping[str, str],
        timeouts: A2ATimeouts,
        limits: AnswerLimits,
    ) -> None:
        self.agent_url = agent_url
        self.timeouts = timeouts
        self.limits = limits
        self._client = client
        self._auth = httpx.USE_CLIENT_DEFAULT if auth is None else auth
        self._headers = headers
        self._timeout = httpx.Timeout(
            connect=timeouts.connect_s, pool=timeouts.connect_s, write=timeouts.request_s, read=None
        )

    async def open(self, request: Request, *, within_s: float, limit: str) -> Reply:
        """Send a request and return its reply once the head of it is there.

        Raises:
            AgentUnreachable: there was no connection, or it broke.
            AgentTooSlow: the head took longer than `within_s`, which is called `limit`.
            AgentElsewhere: the reply is a redirect.
            AgentMisbehaved: the reply cannot be read within bounds.
        """
        # Compressed, a few bytes can stand for any number of them.
        headers = {**self._headers, **request.headers, "Accept-Encoding": "identity"}
        sending = self._client.build_request(
            request.method, request.url, content=request.body, headers=headers, timeout=self._timeout
        )
        response = await self._guard(
            self._client.send(sending, stream=True, auth=self._auth, follow_redirects=False),
            request.what,
            within_s=within_s,
            limit=limit,
        )
        reply = Reply(self, response, request.what)
        try:
            reply.check()
        except BaseException:
            await reply.aclose()
            raise
        return reply

    async def ask(self, request: Request, *, most_bytes: int, limit: str) -> Reply:
        """Send a request and return its reply with the whole body read, within `request_s`."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.timeouts.request_s
        reply = await self.open(request, within_s=self.timeouts.request_s, limit="request_s")
        try:
            left_s = max(ends - loop.time(), 0.001)
            await reply.read(most_bytes=most_bytes, limit=limit, within_s=left_s, time_limit="request_s")
        finally:
            await reply.aclose()
        return reply

    async def _guard(self, work: Awaitable[_T], what: str, *, within_s: float, limit: str) -> _T:
        """Await what talks to the agent; every way in which that fails is an error of ours."""
        try:
            async with asyncio.timeout(within_s):
                return await work
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            message = f"cannot connect: {_said(error)}"
            raise AgentUnreachable(self.agent_url, message, sent=False, original_exc=error) from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
            message = f"the request cannot be sent: {_said(error)}"
            raise AgentUnreachable(self.agent_url, message, sent=False, original_exc=error) from error
        except httpx.TimeoutException as error:
            limit = "request_s" if isinstance(error, httpx.WriteTimeout) else limit
            raise self._too_slow(what, limit) from error
        except TimeoutError as error:
            raise self._too_slow(what, limit) from error
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            message = f"the connection broke during {what}: {_said(error)}"
            raise AgentUnreachable(self.agent_url, message, sent=True, original_exc=error) from error

    def _too_slow(self, what: str, limit: str) -> AgentTooSlow:
        return AgentTooSlow(self.agent_url, what, limit=limit, limit_s=getattr(self.timeouts, limit))


class Reply:
    """The reply to a request: its head at first, then its body as a whole or as events. Whoever opened it closes it."""

    def __init__(self, exchange: Exchange, response: httpx.Response, what: str) -> None:
        self._exchange = exchange
        self._response = response
        self._what = f"the answer to {what}"
        self._pieces = response.aiter_raw()
        self._parser = SseParser(event_bytes=exchange.limits.event_bytes)
        self._events: deque[ServerSentEvent] = deque()
        self.body = b""

    @property
    def status(self) -> int:
        """The status of HTTP."""
        return self._response.status_code

    @property
    def is_stream(self) -> bool:
        """Whether the body is a stream of events."""
        return self.media_type == "text/event-stream"

    @property
    def media_type(self) -> str:
        """The type of the body, without parameters."""
        return str(self._response.headers.get("content-type", "")).partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        """Return a header; None where there is none."""
        value = self._response.headers.get(name)
        return None if value is None else str(value)

    def check(self) -> None:
        """Refuse a reply that leads elsewhere, or is compressed.

        Raises:
            AgentElsewhere: it is a redirect.
            AgentMisbehaved: it is compressed.
        """
        url = self._exchange.agent_url
        if 300 <= self.status < 400:
            location = self.header("location") or "nowhere"
            raise AgentElsewhere(url, f"{self._what} is a redirect ({self.status}), which", location=location)
        encoding = (self.header("content-encoding") or "identity").strip().lower()
        if encoding != "identity":
            raise AgentMisbehaved(
                url, f"{self._what} is compressed ({encoding[:40]}), though it was asked for as it is"
            )

    async def read(self, *, most_bytes: int, limit: str, within_s: float, time_limit: str) -> bytes:
        """Read the whole body; of an error, only its beginning.

        Raises:
            AnswerTooLarge: it is larger than `most_bytes`, which is called `limit`.
        """
        kept = bytearray()
        failed = self.status >= 400

        async def collect() -> None:
            async for piece in self._pieces:
                kept.extend(piece)
                if failed and len(kept) > _ERROR_BYTES:
                    return
                if len(kept) > most_bytes:
                    raise AnswerTooLarge(self._exchange.agent_url, self._what, limit=limit, allowed=most_bytes)

        await self._exchange._guard(collect(), self._what, within_s=within_s, limit=time_limit)
        self.body = bytes(kept[:_ERROR_BYTES]) if failed else bytes(kept)
        return self.body

    def json(self, data: bytes | None = None) -> Any:
        """Return the body, or the data of an event, as JSON.

        Raises:
            AgentMisbehaved: it is none.
            AnswerTooLarge: it holds too many objects.
        """
        data = self.body if data is None else data
        exchange = self._exchange
        if data.count(b"{") + data.count(b"[") > exchange.limits.brackets:
            allowed = exchange.limits.brackets
            raise AnswerTooLarge(exchange.agent_url, self._what, limit="brackets", allowed=allowed)
        try:
            return from_json(data, allow_inf_nan=False, cache_strings="none")
        except ValueError as error:
            shown = data[:80].decode("utf-8", "replace")
            raise AgentMisbehaved(exchange.agent_url, f"{self._what} is no JSON ({error}): {shown!r}") from error

    async def next_event(self, *, left_s: float, count: Callable[[int], None]) -> ServerSentEvent | None:
        """Return the next event of the stream; None at its end. `count` is told how many bytes are read.

        Waits `idle_s` for a byte, `request_s` for the rest of an event that has begun, and no longer than `left_s`.
        """
        clock = asyncio.get_running_loop().time
        ends, waited_s = clock() + left_s, 0.0
        while not self._events:
            timeouts = self._exchange.timeouts
            limits_s = {"idle_s": timeouts.idle_s, "call_s": ends - clock()}
            if self._parser.inside_event:
                limits_s["request_s"] = timeouts.request_s - waited_s
            limit = min(limits_s, key=limits_s.__getitem__)
            began = clock()
            piece = await self._exchange._guard(
                anext(self._pieces, None), self._what, within_s=max(limits_s[limit], 0.0), limit=limit
            )
            inside = self._parser.inside_event
            count(len(piece or b""))
            self._feed(piece or b"")
            if piece is None:
                return self._events.popleft() if self._events else None
            # What one event takes is counted from its first byte on.
            waited_s = waited_s + clock() - began if inside else 0.0
        return self._events.popleft()

    def _feed(self, piece: bytes) -> None:
        limits, agent_url = self._exchange.limits, self._exchange.agent_url
        try:
            self._events.extend(self._parser.feed(piece))
        except EventTooLarge:
            what = f"an event of {self._what}"
            raise AnswerTooLarge(agent_url, what, limit="event_bytes", allowed=limits.event_bytes) from None

    async def aclose(self) -> None:
        """Give the connection back, or close it where the body was not read to its end."""
        await self._response.aclose()


def _said(error: BaseException) -> str:
    text = str(error)[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
