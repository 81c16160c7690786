"""The chunks of one trace on their way to the reader of that trace."""

from __future__ import annotations

import asyncio
from collections import deque

from penguiflow.errors import FlowError, FlowErrorCode
from penguiflow.types import StreamChunk

__all__ = ["Chunks"]


class Chunks:
    """A bounded buffer with at most one reader.

    While someone reads, a full buffer makes the writer wait. While nobody does, the oldest chunk is dropped and
    counted, so that a caller who only wants the result delays no node.
    """

    def __init__(self, trace_id: str, maxsize: int) -> None:
        self.dropped = 0
        self.reading = False
        self._trace_id = trace_id
        self._maxsize = maxsize
        self._buffer: deque[StreamChunk] = deque()
        self._closed = False
        self._next_seq: dict[str, int] = {}
        self._done: set[str] = set()
        self._reader: asyncio.Future[None] | None = None
        self._writers: deque[tuple[asyncio.Future[None], StreamChunk]] = deque()

    def new_stream(self, base: str) -> str:
        """Return a stream id that is not in use: a node that runs again, in a loop or a retry, streams anew."""
        stream_id, turn = base, 2
        while stream_id in self._next_seq:
            stream_id, turn = f"{base}#{turn}", turn + 1
        return stream_id

    def number(self, node_name: str, stream_id: str, seq: int | None, done: bool) -> int:
        """Return the place of the next chunk of a stream.

        Raises:
            FlowError: `STREAM_ORDER`, `seq` is not above the last one, or the stream is done.
        """
        expected = self._next_seq.get(stream_id, 0)
        if stream_id in self._done:
            problem = f"stream {stream_id!r} is done; use another stream_id"
            raise FlowError(self._trace_id, node_name, FlowErrorCode.STREAM_ORDER, problem)
        if seq is None:
            seq = expected
        elif seq < expected:
            problem = f"seq {seq} of stream {stream_id!r} is below the next one, {expected}; leave seq out to count up"
            raise FlowError(self._trace_id, node_name, FlowErrorCode.STREAM_ORDER, problem)
        self._next_seq[stream_id] = seq + 1
        if done:
            self._done.add(stream_id)
        return seq

    async def put(self, chunk: StreamChunk) -> None:
        """Add a chunk; waits, in order of arrival, while the buffer is full and someone reads."""
        if self._closed or not self.reading or (len(self._buffer) < self._maxsize and not self._writers):
            self.put_nowait(chunk)
            return
        writer = (asyncio.get_running_loop().create_future(), chunk)
        self._writers.append(writer)
        try:
            await writer[0]
        finally:
            if writer in self._writers:
                self._writers.remove(writer)

    def put_nowait(self, chunk: StreamChunk) -> None:
        """Add a chunk, dropping the oldest one where there is no room."""
        if self._closed:
            return
        if len(self._buffer) >= self._maxsize:
            self._buffer.popleft()
            self.dropped += 1
        self._buffer.append(chunk)
        self._wake_reader()

    def start_reading(self) -> None:
        """Become the reader.

        Raises:
            FlowError: `CHUNKS_BUSY`, someone else reads.
        """
        if self.reading:
            raise self._busy()
        self.reading = True

    def _busy(self) -> FlowError:
        message = "the chunks of this trace are being read already; read them once and share what you get"
        return FlowError(self._trace_id, None, FlowErrorCode.CHUNKS_BUSY, message)

    def stop_reading(self) -> None:
        """Give the reading up; writers go on, dropping."""
        self.reading = False
        self._release_writers()

    async def get(self) -> StreamChunk | None:
        """Return the next chunk; None once the trace has ended and all are read.

        Raises:
            FlowError: `CHUNKS_BUSY`, someone else waits for one.
        """
        if self._reader is not None:
            raise self._busy()
        while not self._buffer:
            if self._closed:
                return None
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        chunk = self._buffer.popleft()
        if self._writers:
            writer, waiting = self._writers.popleft()
            self._buffer.append(waiting)
            if not writer.done():
                writer.set_result(None)
        return chunk

    def close(self) -> None:
        """Accept no more; what is buffered can still be read."""
        self._closed = True
        self._next_seq.clear()
        self._done.clear()
        self._wake_reader()
        self._release_writers()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _release_writers(self) -> None:
        writers, self._writers = self._writers, deque()
        for writer, chunk in writers:
            self.put_nowait(chunk)
            if not writer.done():
                writer.set_result(None)
