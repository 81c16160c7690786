"""Where the events of a call come from: a stream, or questions after the task."""

from __future__ import annotations

import asyncio
from typing import Protocol

from penguiflow_a2a._client.agents import Agent
from penguiflow_a2a._client.exchange import Reply, Request
from penguiflow_a2a._client.failures import AgentRefused, AnswerTooLarge
from penguiflow_a2a._client.retries import again
from penguiflow_a2a._protocol.operations import Operation
from penguiflow_a2a._protocol.requests import SendMessageRequest
from penguiflow_a2a._protocol.tasks import StreamEvent, Task

__all__ = ["Feed", "Lifetime", "PollFeed", "StreamFeed", "cancel_task", "get_task", "open_feed", "refuses_streams"]

_FIRST_PAUSE_S = 0.05
_CANNOT_STREAM = frozenset({"METHOD_NOT_FOUND", "UNSUPPORTED_OPERATION"})


class Lifetime:
    """How long a call may still take, and how much it may still read, over all of its connections."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._clock = asyncio.get_running_loop().time
        self._ends = self._clock() + agent.exchange.timeouts.call_s
        self._read_bytes = 0

    @property
    def left_s(self) -> float:
        """Seconds until the call has to have ended; negative afterwards."""
        return self._ends - self._clock()

    def within(self, limit: str) -> tuple[float, str]:
        """Return how long something may take: as the time-out `limit` says, or what is left of the call."""
        limit_s: float = getattr(self._agent.exchange.timeouts, limit)
        left_s = max(self.left_s, 0.0)
        return (limit_s, limit) if limit_s < left_s else (left_s, "call_s")

    def count(self, size: int) -> None:
        """Count bytes of streams.

        Raises:
            AnswerTooLarge: they are more than a call may read.
        """
        self._read_bytes += size
        most = self._agent.exchange.limits.stream_bytes
        if self._read_bytes > most:
            raise AnswerTooLarge(self._agent.url, "what was streamed", limit="stream_bytes", allowed=most)


class Feed(Protocol):
    """Events of a task in order. Whoever has one closes it."""

    @property
    def position(self) -> str | None:
        """The id of the last event, where the agent gives them."""
        ...

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream, whose end without an end of the task is a loss."""
        ...

    async def next(self) -> StreamEvent | None:
        """Return the next event; None where there are no more, though the task may not have ended."""
        ...

    async def aclose(self) -> None:
        """Let go of the connection."""
        ...


class StreamFeed:
    """Events as the agent sends them: of a stream, or the one that it answered in place of a stream."""

    def __init__(self, agent: Agent, request: Request, reply: Reply, lifetime: Lifetime) -> None:
        self._agent = agent
        self._request = request
        self._reply = reply
        self._lifetime = lifetime
        self._over = False
        self.position: str | None = None
        self.is_stream = reply.is_stream

    async def next(self) -> StreamEvent | None:
        """Return the next event; None at the end of the stream."""
        binding = self._agent.binding
        if self._over:
            return None
        if not self._reply.is_stream:
            self._over = True
            await self._read_whole()
            return binding.read_event(self._request, self._reply)
        event = await self._reply.next_event(left_s=self._lifetime.left_s, count=self._lifetime.count)
        if event is None:
            self._over = True
            return None
        self.position = event.event_id or self.position
        return binding.read_event(self._request, self._reply, event.data, failed=event.name == "error")

    async def _read_whole(self) -> None:
        exchange = self._agent.exchange
        await self._reply.read(
            most_bytes=exchange.limits.answer_bytes,
            limit="answer_bytes",
            within_s=max(self._lifetime.left_s, 0.0),
            time_limit="call_s",
        )

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._reply.aclose()


class PollFeed:
    """The task itself, asked for again and again: what an agent that does not stream can give."""

    position: str | None = None
    is_stream = False

    def __init__(self, agent: Agent, task_id: str, lifetime: Lifetime, *, at_once: bool) -> None:
        self._agent = agent
        self._task_id = task_id
        self._lifetime = lifetime
        self._pause_s = 0.0 if at_once else _FIRST_PAUSE_S

    async def next(self) -> StreamEvent | None:
        """Return the task as it is after a pause, which grows up to `poll_s`."""
        pause_s = min(self._pause_s, max(self._lifetime.left_s, 0.0))
        await asyncio.sleep(pause_s)
        if self._lifetime.left_s <= 0:
            return None
        self._pause_s = min(max(self._pause_s * 1.5, _FIRST_PAUSE_S), self._agent.exchange.timeouts.poll_s)
        return await get_task(self._agent, self._task_id)

    async def aclose(self) -> None:
        """There is no connection to let go of."""


async def open_feed(
    agent: Agent,
    lifetime: Lifetime,
    *,
    message: SendMessageRequest | None = None,
    task_id: str = "",
    after: str | None = None,
) -> StreamFeed:
    """Send a message, or subscribe to a task, and return the events that answer it."""
    if message is not None:
        request = agent.binding.send(message, stream=agent.streams)
    else:
        request = agent.binding.ask(Operation.SUBSCRIBE, task_id, after=after)
    exchange = agent.exchange
    # An agent may begin a stream with its first event, and give an answer when the work is done.
    wanted = "idle_s" if message is None or agent.streams else "call_s"

    async def attempt() -> StreamFeed:
        within_s, limit = lifetime.within(wanted)
        reply = await exchange.open(request, within_s=within_s, limit=limit)
        feed = StreamFeed(agent, request, reply, lifetime)
        try:
            await _refuse_errors(agent, request, reply, lifetime)
        except BaseException:
            await feed.aclose()
            raise
        return feed

    # A subscription may be repeated, but whoever takes up a stream again decides that with its progress in view.
    return await again(attempt, exchange.timeouts, idempotent=False)


async def _refuse_errors(agent: Agent, request: Request, reply: Reply, lifetime: Lifetime) -> None:
    if reply.status < 400:
        return
    most_bytes = agent.exchange.limits.answer_bytes
    within_s, limit = lifetime.within("request_s")
    await reply.read(most_bytes=most_bytes, limit="answer_bytes", within_s=within_s, time_limit=limit)
    agent.binding.unwrap(request, reply)


async def get_task(agent: Agent, task_id: str) -> Task:
    """Ask for a task.

    Raises:
        TaskUnknown: the agent does not know it.
    """
    return await _ask(agent, Operation.GET, task_id)


async def cancel_task(agent: Agent, task_id: str) -> Task:
    """Ask to cancel a task.

    Raises:
        AgentRefused: the agent does not know it, or it has ended.
    """
    return await _ask(agent, Operation.CANCEL, task_id)


async def _ask(agent: Agent, operation: Operation, task_id: str) -> Task:
    exchange = agent.exchange

    async def attempt() -> Task:
        request = agent.binding.ask(operation, task_id)
        limit = exchange.limits.answer_bytes
        reply = await exchange.ask(request, most_bytes=limit, limit="answer_bytes")
        return agent.binding.read_task(request, reply)

    return await again(attempt, exchange.timeouts, idempotent=True)


def refuses_streams(error: AgentRefused) -> bool:
    """Say whether an agent refused because it does not stream, or does not stream this: it did nothing then."""
    return error.reason in _CANNOT_STREAM or error.http_status in (404, 405, 501)
