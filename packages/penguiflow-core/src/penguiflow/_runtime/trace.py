"""The handle to one submitted trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from typing import Any, Self

from penguiflow._runtime.outcome import all_values, only_value
from penguiflow._runtime.run import Run
from penguiflow.errors import FlowError
from penguiflow.types import Payload, StreamChunk

__all__ = ["Cancellation", "ChunkReader", "Trace"]


class Cancellation(int):
    """What `cancel` returns: true if there was an active trace to cancel.

    The trace has ended when the call returns. Awaiting this waits, besides, for its nodes to have unwound, and gives
    the plain bool. A trace that runs in other processes only is false here, and is cancelled when this is awaited,
    which gives whether there was one.
    """

    _rest: asyncio.Future[Any] | None

    def __new__(cls, found: bool, rest: asyncio.Future[Any] | None = None) -> Self:
        self = super().__new__(cls, found)
        self._rest = rest
        return self

    def __await__(self) -> Generator[Any, None, bool]:
        if self._rest is None:
            return bool(self)
        elsewhere = yield from asyncio.shield(self._rest).__await__()
        return bool(self) or bool(elsewhere)

    def __repr__(self) -> str:
        return repr(bool(self))


class Trace:
    """A trace that was submitted, and its outcome.

    Any number of tasks may await it. Cancelling such an await leaves the trace running; leaving `async with trace`
    cancels it if it has not ended.
    """

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def trace_id(self) -> str:
        """The id of the trace."""
        return self._run.trace_id

    @property
    def done(self) -> bool:
        """Whether the trace has ended, in whatever way."""
        return self._run.told

    @property
    def error(self) -> FlowError | None:
        """Why the trace failed; None while it runs and where it did not fail."""
        self._run.note_seen()
        return None if self._run.follower is not None else self._run.error

    @property
    def chunks_dropped(self) -> int:
        """How many chunks were dropped because nobody read them."""
        return 0 if self._run.chunks is None else self._run.chunks.dropped

    async def result(self) -> Payload:
        """Wait for the end of the trace and return its only value; None if it gave none.

        Raises:
            MultipleResults: the trace gave more than one value.
            FlowError: the trace failed; `partial` holds what it gave before.
        """
        run = self._run
        if not run.told:
            await run.wait()
        _note_fetch(run)
        return only_value(run)

    async def results(self) -> list[tuple[str, Payload]]:
        """Wait for the end of the trace and return `(exit_name, value)` for each value, in order of arrival.

        Raises:
            FlowError: the trace failed; `partial` holds what it gave before.
        """
        run = self._run
        if not run.told:
            await run.wait()
        _note_fetch(run)
        return all_values(run)

    def chunks(self) -> AsyncIterator[StreamChunk]:
        """Iterate over the trace's chunks as they are made, until it ends.

        While this is iterated over, a slow reader slows the nodes that stream; chunks made while nobody iterates are
        kept up to the flow's `queue_maxsize`, then the oldest are dropped. A failed trace raises its `FlowError`
        after the last chunk.

        Raises:
            FlowError: `CHUNKS_BUSY`, someone else iterates.
        """
        return ChunkReader(self._run)

    def cancel(self) -> Cancellation:
        """Cancel the trace if it is still active; see `PenguiFlow.cancel`."""
        run = self._run.follower or self._run
        if run.done:
            return Cancellation(False)
        return Cancellation(True, run.runtime.cancel(run))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.cancel()

    def __repr__(self) -> str:
        state = "active" if not self.done else "done" if self.error is None else self.error.code
        return f"<Trace {self.trace_id} {state}>"


def _note_fetch(run: Run) -> None:
    events = run.runtime.events
    if events is not None:
        events.post("fetch", run)


class ChunkReader(AsyncIterator[StreamChunk]):
    """Iterates over the chunks of a run; reading starts with the first chunk asked for and ends with the iterator."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._reading = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamChunk:
        run = self._run
        if run.told and run.chunks is None:
            return self._end()
        chunks = run.open_chunks()
        if not self._reading:
            chunks.start_reading()
            self._reading = True
        chunk = await chunks.get()
        return self._end() if chunk is None else chunk

    async def aclose(self) -> None:
        """Stop reading; nodes that wait for room go on, and their chunks are dropped."""
        self._stop()

    def _end(self) -> StreamChunk:
        self._stop()
        if self._run.error is not None:
            self._run.note_seen()
            raise self._run.error.with_traceback(None)
        raise StopAsyncIteration

    def _stop(self) -> None:
        if self._reading:
            self._reading = False
            self._run.open_chunks().stop_reading()

    def __del__(self) -> None:
        # `break` in an `async for` drops the iterator: writers must not wait for a reader who has left.
        if not self._run.runtime.loop.is_closed():
            self._stop()
