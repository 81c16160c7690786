"""Streams: the events of a task as Server-Sent Events, to one client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.tasks import Message
from penguiflow_a2a._server.http import Receive, Send
from penguiflow_a2a._server.spellings import Event, Spelling, WireEvent, named_too

if TYPE_CHECKING:
    from penguiflow_a2a._server.engine import Engine
    from penguiflow_a2a._server.live import LiveTask

__all__ = ["Source", "TaskStream", "send_stream"]

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # A proxy that collects a response before it passes it on would turn a stream into a wait.
    (b"x-accel-buffering", b"no"),
]
# No empty line after it: to many readers that is the end of an event, which would be an empty one.
_COMMENT = b":\n"


class Source:
    """Where the events of a stream come from; this one has a single message."""

    def __init__(self, message: Message | None = None) -> None:
        self._message = message

    def begin(self) -> None:
        """Count as an open stream from now on.

        Raises:
            ProtocolError: too many are open.
        """

    async def batches(self, heartbeat_s: float) -> AsyncIterator[list[Event]]:
        """Give the events, those that are there together; an empty list after each `heartbeat_s` without one."""
        if self._message is not None:
            yield [WireEvent("message", self._message.to_wire_json())]

    def leave(self) -> None:
        """Wake whoever waits for the next events, because the client has left."""

    async def end(self, *, is_complete: bool) -> None:
        """Stop following."""


class TaskStream(Source):
    """The events of a task, from a snapshot of it on, or from where the client has left it before.

    It ends with the event after which the task does nothing more, and never because of what another stream does.
    """

    def __init__(
        self,
        engine: Engine,
        live: LiveTask,
        owner: str,
        *,
        after: int | None = None,
        history_length: int | None = None,
        cancels: bool = False,
    ) -> None:
        super().__init__()
        self._engine = engine
        self._live = live
        self._owner = owner
        self._cancels = cancels
        replays = after is not None and live.log.can_replay(after) and not self._is_over(after)
        self._replays = replays
        self._first: list[Event] = [] if replays else [live.snapshot(history_length)]
        self._subscription = live.log.subscribe(after if replays else None)

    def _is_over(self, after: int) -> bool:
        """Whether a client that has had everything asks for more of a task that has ended: it gets the task."""
        live = self._live
        return live.record.state.is_terminal and after == live.log.next_seq - 1

    def begin(self) -> None:
        """Count as an open stream of its owner."""
        try:
            self._engine.open_stream(self._owner)
        except ProtocolError:
            self._live.log.unsubscribe(self._subscription)
            raise

    async def batches(self, heartbeat_s: float) -> AsyncIterator[list[Event]]:
        """Give the events; see `Source`."""
        live, subscription = self._live, self._subscription
        if self._first:
            yield self._first
            if live.record.state.is_terminal and live.runner is None and subscription.next_seq == live.log.next_seq:
                return
        lifetime_s = self._engine.limits.max_stream_s
        loop = asyncio.get_running_loop()
        ends_at = None if lifetime_s is None else loop.time() + lifetime_s
        while not subscription.dropped:
            events, is_last = self._through_the_end(subscription.take())
            if events:
                yield events
                if is_last:
                    return
                continue
            if ends_at is not None and loop.time() >= ends_at:
                return
            try:
                async with asyncio.timeout(heartbeat_s):
                    await subscription.wait()
            except TimeoutError:
                yield []

    def _through_the_end(self, events: list[Event]) -> tuple[list[Event], bool]:
        """Return the events up to the one that ends the stream, and whether it is among them.

        What is taken up again goes on past the ends of earlier turns.
        """
        for index, event in enumerate(events):
            if event.settles and (not self._replays or (index == len(events) - 1 and self._live.runner is None)):
                return events[: index + 1], True
        return events, False

    def leave(self) -> None:
        """Stop waiting for events."""
        self._subscription.drop()

    async def end(self, *, is_complete: bool) -> None:
        """Stop following; where the client asked for it and has left early, the task is cancelled."""
        live = self._live
        live.log.unsubscribe(self._subscription)
        self._engine.close_stream(self._owner)
        if self._cancels and not is_complete and not live.log.subscriptions and live.runner is not None:
            await live.cancel()


async def send_stream(
    source: Source,
    spelling: Spelling,
    receive: Receive,
    send: Send,
    *,
    before: bytes,
    after: bytes,
    heartbeat_s: float,
    slow_reader_s: float,
    headers: list[tuple[bytes, bytes]] | None,
    names: bool = False,
) -> None:
    """Send the events of a source until it ends or the client has left; each event between `before` and `after`.

    With `names`, they are under the names of their kinds too; see `named_too`.
    A client that does not take what is sent for `slow_reader_s` seconds is left alone: its connection is dropped.
    """
    source.begin()
    is_complete = False
    watcher = asyncio.create_task(_watch(receive, source))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS + (headers or [])})
        async for events in source.batches(heartbeat_s):
            body = b"".join(_frame(event, spelling, before, after, names) for event in events) or _COMMENT
            async with asyncio.timeout(slow_reader_s):
                await send({"type": "http.response.body", "body": body, "more_body": True})
            is_complete = bool(events) and events[-1].settles
        if not watcher.done():
            async with asyncio.timeout(slow_reader_s):
                await send({"type": "http.response.body", "body": b""})
    except TimeoutError:
        # The response stays incomplete, so the server closes the connection.
        return
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await source.end(is_complete=is_complete)


def _frame(event: Event, spelling: Spelling, before: bytes, after: bytes, names: bool) -> bytes:
    number = b"id: %d\n" % event.seq if event.seq >= 0 else b""
    written = event.written(spelling)
    return number + before + (named_too(event.member, written) if names else written) + after


async def _watch(receive: Receive, source: Source) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    source.leave()


def no_stream() -> ProtocolError:
    """Return the error of a stream that finds no room."""
    return ProtocolError(ErrorKind.RESOURCE_EXHAUSTED, "Too many streams are open", headers={"retry-after": "5"})
