"""Sends a trace to a client as it goes on: Server-Sent Events, or messages over a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from penguiflow._bounds import invalid_bound
from penguiflow._json import encode, to_plain_or_text
from penguiflow._runtime.trace import ChunkReader, Trace
from penguiflow.errors import FlowDefinitionError, FlowError
from penguiflow.types import Json, Message, Payload

__all__ = ["ClientEvent", "client_events", "send_events", "sse_events"]

_Kind: TypeAlias = Literal["chunk", "result", "error"]


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """One thing that a client is told about a trace."""

    event: _Kind
    """A chunk, or the last event: what the trace gave, or how it failed."""
    data: dict[str, Json]
    """A chunk's fields; `{"results": [{"exit", "value"}, …]}`; or the fields of `FlowError.to_payload()`."""
    seq: int | None = None
    """A chunk's place in its stream."""


async def client_events(
    trace: Trace, *, cancel_on_leave: bool = False, show_exceptions: bool = False
) -> AsyncGenerator[ClientEvent, None]:
    """Give the chunks of a trace as they are made and then, exactly once, its results or its error.

    A client that takes its time slows the nodes that stream, as with `trace.chunks()`. With `cancel_on_leave` the
    trace is cancelled when the iteration is given up or cancelled before the end. Of a `Message` the payload is
    given, never the metadata; a chunk is given with its own `meta`, and an error with the text of a node's exception.
    What JSON cannot hold is given as its text.
    The text of an exception that a node raised is for the log, and is given only with `show_exceptions`.

    Raises:
        FlowError: `CHUNKS_BUSY`, someone else reads the chunks.
    """
    chunks = ChunkReader(trace._run)
    try:
        while (event := await _next_event(trace, chunks, show_exceptions)).event == "chunk":
            yield event
        yield event
    finally:
        await chunks.aclose()
        if cancel_on_leave:
            trace.cancel()


async def _next_event(trace: Trace, chunks: ChunkReader, show_exceptions: bool) -> ClientEvent:
    try:
        chunk = await anext(chunks)
    except StopAsyncIteration:
        results = [{"exit": exit_name, "value": _plain(value)} for exit_name, value in await trace.results()]
        return ClientEvent("result", {"results": results})
    except FlowError as error:
        if not trace.done:
            raise
        return ClientEvent("error", _told(error, show_exceptions))
    return ClientEvent("chunk", _plain(chunk), chunk.seq)


async def sse_events(
    trace: Trace,
    *,
    heartbeat_s: float | None = None,
    cancel_on_leave: bool = False,
    show_exceptions: bool = False,
) -> AsyncGenerator[bytes, None]:
    """Give a trace as Server-Sent Events: what `client_events` gives, as the body of a `text/event-stream` response.

    The `id` of a chunk is its `seq`. With `heartbeat_s`, a comment is sent whenever nothing else was for that many
    seconds, so that neither side takes a quiet trace for a lost connection.

    Raises:
        FlowError: `CHUNKS_BUSY`, someone else reads the chunks.
        FlowDefinitionError: `heartbeat_s` is not positive.
    """
    if heartbeat_s is not None and not heartbeat_s > 0:
        raise invalid_bound("heartbeat_s", heartbeat_s, "a positive number of seconds, or None")
    chunks = ChunkReader(trace._run)
    event: ClientEvent | None = None
    try:
        while event is None or event.event == "chunk":
            try:
                # No chunk is lost where this is interrupted: it is taken only by the step that returns it.
                async with asyncio.timeout(heartbeat_s):
                    event = await _next_event(trace, chunks, show_exceptions)
            except TimeoutError:
                yield b": \n\n"
            else:
                yield _as_sse(event)
    finally:
        await chunks.aclose()
        if cancel_on_leave:
            trace.cancel()


async def send_events(
    trace: Trace,
    *,
    send_text: Callable[[str], Awaitable[object]] | None = None,
    send_json: Callable[[Any], Awaitable[object]] | None = None,
    cancel_on_leave: bool = False,
    show_exceptions: bool = False,
) -> None:
    """Send a trace over a WebSocket, one `{"event", "data"}` object a message, as `client_events` gives it.

    Pass the `send_text` or the `send_json` of any WebSocket; each message is sent before the next is taken, so a slow
    client slows the nodes that stream. Returns when the last event is sent. What sending raises, because the client
    has left, is raised as it is; with `cancel_on_leave` the trace is then cancelled, and so it is when this call is
    cancelled.

    Raises:
        FlowDefinitionError: not exactly one way to send was passed.
    """
    if (send_text is None) == (send_json is None):
        raise FlowDefinitionError("send_events() needs one way to send: pass either send_text or send_json")
    try:
        async with aclosing(client_events(trace, show_exceptions=show_exceptions)) as events:
            async for event in events:
                message = {"event": event.event, "data": event.data}
                if send_json is not None:
                    await send_json(message)
                elif send_text is not None:
                    await send_text(encode(message).decode())
    finally:
        if cancel_on_leave:
            trace.cancel()


def _told(error: FlowError, show_exceptions: bool) -> dict[str, Json]:
    told = error.to_payload()
    # What pydantic says of a payload names fields, not values, and is what a client needs to put it right.
    if not (show_exceptions or error.original_exc is None or isinstance(error.original_exc, ValidationError)):
        told.update(message="the flow failed", exception=None)
        told.pop("details", None)
    return told


def _plain(value: Payload) -> Any:
    payload = value.payload if isinstance(value, Message) else value
    return to_plain_or_text(payload)


# Line breaks to many a client, though not to the standard, and left as they are in JSON text.
_LINE_BREAKS = [(sign.encode(), b"\\u%04x" % ord(sign)) for sign in "\x85\u2028\u2029"]


def _as_sse(event: ClientEvent) -> bytes:
    data = encode(event.data)
    for sign, escaped in _LINE_BREAKS:
        data = data.replace(sign, escaped)
    identified = b"" if event.seq is None else b"id: %d\n" % event.seq
    return b"event: %s\n%sdata: %s\n\n" % (event.event.encode(), identified, data)
