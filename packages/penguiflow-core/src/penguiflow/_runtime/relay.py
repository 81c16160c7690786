"""What goes back to whoever submitted a trace: chunks, and the news that it has ended. Best effort, bounded."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

from penguiflow._described import describe
from penguiflow._runtime.chunks import Chunks
from penguiflow._runtime.codec import encode_chunk
from penguiflow.bus import BatchedPuts, MessageBus
from penguiflow.types import StreamChunk

__all__ = ["Relay", "RelayedChunks"]

_CAP = 10_000
# Seconds one batch may take: a submitter that has died leaves its queue full, and nobody waits for it.
_PATIENCE_S = 1.0
_BATCH = 256

logger = logging.getLogger("penguiflow")


class Relay:
    """One task that puts replies on the bus. Beyond its bound the oldest are dropped: the store has every outcome."""

    def __init__(self, bus: MessageBus) -> None:
        self.dropped = 0
        self._bus = bus
        self._queue: deque[tuple[str, dict[str, Any]]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, queue: str, reply: dict[str, Any]) -> None:
        """Send a reply, some time soon."""
        if len(self._queue) >= _CAP:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append((queue, reply))
        self._idle.clear()
        self._wake.set()

    async def flush(self, timeout_s: float) -> None:
        """Wait until everything was sent, at most `timeout_s` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("%d replies of the flow were not sent before it stopped", len(self._queue))

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            while self._queue:
                await self._send_batch()
            self._idle.set()
            self._wake.clear()
            await self._wake.wait()

    async def _send_batch(self) -> None:
        queue, first = self._queue.popleft()
        batch = [first]
        while self._queue and self._queue[0][0] == queue and len(batch) < _BATCH:
            batch.append(self._queue.popleft()[1])
        try:
            async with asyncio.timeout(_PATIENCE_S):
                if isinstance(self._bus, BatchedPuts):
                    await self._bus.put_many(queue, batch)
                else:
                    for reply in batch:
                        await self._bus.put(queue, reply)
        except Exception as error:
            self.dropped += len(batch)
            logger.debug("%d replies to %s were dropped: %s", len(batch), queue, describe(error))


class RelayedChunks(Chunks):
    """The chunks of a unit whose reader is in another process: they leave at once, marked with their attempt."""

    def __init__(self, trace_id: str, relay: Relay, reply_to: str, *, generation: int, attempt: int) -> None:
        super().__init__(trace_id, 1)
        self._relay = relay
        self._reply_to = reply_to
        self._generation = generation
        self._attempt = attempt

    async def put(self, chunk: StreamChunk) -> None:
        """Send a chunk."""
        self.put_nowait(chunk)
        # A node that only streams would otherwise never let the relay run.
        await asyncio.sleep(0)

    def put_nowait(self, chunk: StreamChunk) -> None:
        """Send a chunk.

        Raises:
            NotSerialisable: its metadata holds something that JSON cannot.
        """
        marked = chunk.model_copy(update={"meta": {**chunk.meta, "attempt": self._attempt}})
        self._relay.put(
            self._reply_to,
            {
                "kind": "chunk",
                "trace_id": self._trace_id,
                "generation": self._generation,
                "chunk": encode_chunk(marked, trace_id=self._trace_id),
            },
        )
