"""One call of an agent: from its message, or from a task that is known, to the result, over as many connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Any

from penguiflow_a2a._client.agents import Agent
from penguiflow_a2a._client.assembly import Assembly, AssemblyFull
from penguiflow_a2a._client.content import value_of, value_of_part
from penguiflow_a2a._client.failures import (
    A2AError,
    AgentMisbehaved,
    AgentRefused,
    AgentTooSlow,
    AgentUnreachable,
    AnswerTooLarge,
    TaskUnknown,
)
from penguiflow_a2a._client.feeds import Feed, Lifetime, PollFeed, cancel_task, get_task, open_feed, refuses_streams
from penguiflow_a2a._client.retries import backoff_s, pause_s
from penguiflow_a2a._protocol.requests import SendMessageConfiguration, SendMessageRequest
from penguiflow_a2a._protocol.tasks import (
    Message,
    Role,
    StreamEvent,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
)

__all__ = ["Call", "Part"]

Part = dict[str, Any]
"""What a `RemoteTransport` gives: a chunk, a status, or the result."""

_STATUS_STREAM = "status"
"""The stream of what an agent says while it works."""
_ID_CAP = 1024

logger = logging.getLogger("penguiflow.a2a")


class Call:
    """A call on its way. It knows its task as soon as the agent names it, and follows that task from then on."""

    def __init__(
        self,
        agent: Agent,
        *,
        message: SendMessageRequest | None = None,
        task_id: str | None = None,
        after: str | None = None,
    ) -> None:
        self._agent = agent
        self._message = message
        self._after = after
        self.task_id = task_id if message is None else message.message.task_id
        self.context_id = None if message is None else message.message.context_id
        self.state: TaskState | None = None
        """Where the task stands, as far as is known."""
        self.cancelled_early = False
        """Whether the task was cancelled before its first part was given."""
        self._said: Any = None
        """What the agent said last about the task as a whole."""
        self._assembly = Assembly(most_bytes=agent.exchange.limits.answer_bytes)
        self._lifetime = Lifetime(agent)
        self._failures = 0
        """Attempts to take up the stream since the last event."""
        self._stale = 0
        """Attempts to take up the stream since the last event that said something new."""
        self._lost: A2AError | None = None
        self._from_snapshot = False
        """Whether a snapshot stands in for events; those that follow it may repeat what it held."""
        self._answer: Message | None = None

    @property
    def settled(self) -> bool:
        """Whether the agent does nothing more until it is asked again."""
        return self._answer is not None or (self.state is not None and self.state.is_settled)

    async def parts(self) -> AsyncGenerator[Part, None]:
        """Give the parts of the answer, the result last.

        Raises:
            A2AError: the agent failed, or what lies between.
        """
        feed: Feed | None = None
        try:
            feed, event = await self._begin()
            while not self.settled:
                if event is None:
                    event = await self._next(feed)
                if event is None:
                    feed, event = await self._go_on(feed)
                    continue
                for part in self._take(event, feed.position):
                    yield part
                event = None
            for part in self._told(self._assembly.close(), None):
                yield part
            yield await self._result()
        except A2AError as error:
            error.task_id, error.context_id = error.task_id or self.task_id, error.context_id or self.context_id
            raise
        finally:
            if feed is not None:
                await feed.aclose()

    async def _begin(self) -> tuple[Feed, StreamEvent | None]:
        if self._message is None:
            return await self._take_up(self._after, at_once=True)
        opening = asyncio.ensure_future(self._open(self._message))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await self._call_off(opening)
            raise

    async def _open(self, message: SendMessageRequest) -> tuple[Feed, StreamEvent | None]:
        """Send the message and wait for the first event: it names the task."""
        try:
            return await self._open_feed(message=message)
        except AgentRefused as error:
            if not (self._agent.streams and refuses_streams(error)):
                raise
        # An agent whose card promises more than it does has not acted on the message.
        self._agent = replace(self._agent, streams=False)
        return await self._open_feed(message=message)

    async def _open_feed(
        self, *, message: SendMessageRequest | None = None, task_id: str = "", after: str | None = None
    ) -> tuple[Feed, StreamEvent | None]:
        if message is not None:
            # A stream brings everything; of another agent the task is wanted at once, to know it.
            answered = SendMessageConfiguration(return_immediately=not self._agent.streams)
            message = message.model_copy(update={"configuration": answered})
        feed = await open_feed(self._agent, self._lifetime, message=message, task_id=task_id, after=after)
        try:
            return feed, await feed.next()
        except BaseException:
            await feed.aclose()
            raise

    async def _call_off(self, opening: asyncio.Future[tuple[Feed, StreamEvent | None]]) -> None:
        """Cancel the task of a call that is cancelled before the task is known: wait a moment for it to be named."""
        clock = asyncio.get_running_loop().time
        ends = clock() + self._agent.exchange.timeouts.cancel_s
        try:
            await asyncio.wait({opening}, timeout=ends - clock())
            if not opening.done() or opening.cancelled() or opening.exception() is not None:
                return
            feed, event = opening.result()
            await feed.aclose()
            if event is None:
                return
            for _ in self._take(event, None):
                pass
            if self.task_id is not None and not self.settled:
                async with asyncio.timeout_at(ends):
                    await cancel_task(self._agent, self.task_id)
            self.cancelled_early = True
        except (A2AError, TimeoutError) as error:
            logger.warning("the task of a call that was cancelled may still run at %s: %r", self._agent.url, error)
        finally:
            opening.cancel()
            await asyncio.wait({opening}, timeout=1.0)

    async def _next(self, feed: Feed) -> StreamEvent | None:
        """Return the next event; None where the stream is lost, and may be taken up again."""
        try:
            event = await feed.next()
        except (AgentUnreachable, AgentTooSlow) as error:
            # A stream may fall silent between events; within one it has no reason to.
            silent = isinstance(error, AgentUnreachable) or error.limit == "idle_s"
            if not (silent and feed.is_stream and self.task_id is not None):
                raise
            self._lost = error
            return None
        if event is not None:
            self._failures = 0
        return event

    async def _go_on(self, feed: Feed) -> tuple[Feed, StreamEvent | None]:
        """Follow the task after a stream has ended before it."""
        await feed.aclose()
        url = self._agent.url
        if self.task_id is None:
            raise self._lost or AgentMisbehaved(url, "the answer ended before it named a task or gave a message")
        if self._lifetime.left_s <= 0:
            raise AgentTooSlow(url, "the call", limit="call_s", limit_s=self._agent.exchange.timeouts.call_s)
        if not feed.is_stream:
            return PollFeed(self._agent, self.task_id, self._lifetime, at_once=False), None
        return await self._take_up(feed.position, at_once=False)

    async def _take_up(self, after: str | None, *, at_once: bool) -> tuple[Feed, StreamEvent | None]:
        """Take up the stream of the task past the event `after`, in as many attempts as there may be."""
        timeouts = self._agent.exchange.timeouts
        while True:
            if not at_once:
                if self._failures >= max(timeouts.retries, 1):
                    assert self._lost is not None
                    raise self._lost
                pause = backoff_s(timeouts, self._stale)
                self._failures, self._stale = self._failures + 1, self._stale + 1
                await asyncio.sleep(min(pause, max(self._lifetime.left_s, 0.0)))
            try:
                taken_up = await self._resume(after)
                self._failures = 0
                return taken_up
            except A2AError as error:
                if pause_s(error, timeouts, self._stale, idempotent=True) is None:
                    raise
                self._lost, at_once = error, False

    async def _resume(self, after: str | None) -> tuple[Feed, StreamEvent | None]:
        """Take up the stream of the task past the event `after` or, where nobody can tell, from the task as it is.

        In version 0.3 a stream that is taken up tells nothing of what it missed: the task is asked for instead.
        """
        assert self.task_id is not None
        if self._agent.streams and (after is not None or self._agent.binding.version != "0.3"):
            try:
                feed, event = await self._open_feed(task_id=self.task_id, after=after)
            except TaskUnknown:
                raise
            except AgentRefused as error:
                # The task has ended, or the agent cannot do this; what it can do again is tried again.
                if pause_s(error, self._agent.exchange.timeouts, 0, idempotent=True) is not None:
                    raise
            else:
                if event is not None and (after is not None or isinstance(event, Task)):
                    self._from_snapshot = self._from_snapshot or isinstance(event, Task)
                    return feed, event
                await feed.aclose()
        self._from_snapshot = False
        return PollFeed(self._agent, self.task_id, self._lifetime, at_once=True), None

    def _take(self, event: StreamEvent, position: str | None) -> Iterator[Part]:
        """Take an event in, and give what it says as parts."""
        parts = list(self._parts_of(event))
        if parts:
            self._stale = 0
        yield from self._told(parts, position)

    def _told(self, parts: list[Part], position: str | None) -> Iterator[Part]:
        for part in parts:
            part.update(context_id=self.context_id, task_id=self.task_id)
            if position is not None:
                part["position"] = position
            yield part

    def _parts_of(self, event: StreamEvent) -> Iterator[Part]:
        if isinstance(event, Message):
            yield from self._take_message(event)
            return
        self._note(event.id if isinstance(event, Task) else event.task_id, event.context_id)
        try:
            if isinstance(event, TaskArtifactUpdateEvent):
                yield from self._assembly.update(event)
                return
            if isinstance(event, Task):
                yield from self._assembly.snapshot(event)
        except AssemblyFull:
            allowed = self._agent.exchange.limits.answer_bytes
            what = "what the task made"
            raise AnswerTooLarge(self._agent.url, what, limit="answer_bytes", allowed=allowed) from None
        yield from self._take_status(event.status, event.history if isinstance(event, Task) else [])

    def _take_message(self, message: Message) -> Iterator[Part]:
        if self.state is None:
            self.context_id = message.context_id or self.context_id
            self._answer = message
        elif text := message.text:
            yield _saying(text, self.state)

    def _take_status(self, status: TaskStatus, history: list[Message]) -> Iterator[Part]:
        if status.state is TaskState.UNSPECIFIED:
            raise AgentMisbehaved(self._agent.url, "the agent does not say where the task stands")
        said = status.message
        spoken = [message for message in history if message.role is Role.AGENT]
        if said is not None:
            self._said = value_of(value_of_part(part) for part in said.parts)
        elif spoken and self._said is None:
            self._said = value_of(value_of_part(part) for part in spoken[-1].parts)
        news = status.state is not self.state
        self.state = status.state
        if status.state.is_settled:
            return
        if news:
            yield {"kind": "status", "state": _spelled(status.state)}
        if said is not None and said.text and (news or not self._from_snapshot):
            yield _saying(said.text, status.state)

    def _note(self, task_id: str, context_id: str) -> None:
        if self.task_id is None:
            if not 0 < len(task_id) <= _ID_CAP or task_id in (".", ".."):
                raise AgentMisbehaved(self._agent.url, f"the task id {task_id!r:.80} is not usable")
            self.task_id = task_id
        elif task_id != self.task_id:
            raise AgentMisbehaved(self._agent.url, f"an event is of task {task_id!r:.80}, not of {self.task_id!r:.80}")
        if not context_id:
            return
        if self.context_id is None:
            if len(context_id) > _ID_CAP:
                raise AgentMisbehaved(self._agent.url, f"the context id {context_id!r:.80} is not usable")
            self.context_id = context_id
        elif context_id != self.context_id:
            message = f"an event is of context {context_id!r:.80}, not of {self.context_id!r:.80}"
            raise AgentMisbehaved(self._agent.url, message)

    async def _result(self) -> Part:
        if self._answer is not None:
            value = value_of(value_of_part(part) for part in self._answer.parts)
            state = _spelled(TaskState.COMPLETED)
        else:
            assert self.state is not None
            state = _spelled(self.state)
            value = await self._value() if self.state is TaskState.COMPLETED else self._said
        return {
            "kind": "result",
            "result": value,
            "context_id": self.context_id,
            "task_id": self.task_id,
            "state": state,
        }

    async def _value(self) -> Any:
        assembly = self._assembly
        if self._from_snapshot and self.task_id is not None:
            # What came after a snapshot may stand in it, too; the task as it is now holds everything once.
            try:
                task = await get_task(self._agent, self.task_id)
                assembly = Assembly(most_bytes=self._agent.exchange.limits.answer_bytes)
                assembly.snapshot(task)
            except (A2AError, AssemblyFull) as error:
                logger.warning("the result of task %s is taken from its stream: %r", self.task_id, error)
                assembly = self._assembly
        found, value = assembly.value()
        return value if found else self._said


def _spelled(state: TaskState) -> str:
    return state.value.removeprefix("TASK_STATE_").lower().replace("_", "-")


def _saying(text: str, state: TaskState) -> Part:
    return {"kind": "chunk", "text": text, "stream_id": _STATUS_STREAM, "meta": {"state": _spelled(state)}}
