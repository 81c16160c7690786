"""What a node is given beside its message: its line to the flow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penguiflow._runtime.delivery import find_edges, send, wait_for_room
from penguiflow._runtime.fetchers import Fetchers
from penguiflow._runtime.joins import Buckets
from penguiflow._runtime.kinds import CHUNK, MESSAGE, kind_of
from penguiflow._runtime.origin import Origin, message_id
from penguiflow._runtime.playbook import Playbook, run_playbook
from penguiflow._runtime.validation import validation_failed
from penguiflow.types import Headers, Message, Payload, StreamChunk

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run
    from penguiflow._runtime.station import Edge, Station
    from penguiflow.node import Node
    from penguiflow.policies import PolicyLike
    from penguiflow.state import StateStore

__all__ = ["Context"]


class Context:
    """One invocation's line to its flow; what goes through it belongs to the invocation's trace.

    Use it from the node's own coroutine, or from tasks that the node awaits. Once the trace has ended, emitting
    raises `FlowError` with code `TRACE_ENDED` (or the `TraceCancelled` that ended it).
    """

    # One object is both the place in a queue and what the node is handed: a second one for each message and node
    # would cost as much as the rest of the hand-over.
    __slots__ = (
        "_attempt",
        "_counted",
        "_hop",
        "_origin",
        "_run",
        "_sent",
        "_started",
        "_station",
        "_stream",
        "_value",
    )

    def __init__(self, run: Run, station: Station, value: Payload, hop: int, origin: Origin) -> None:
        self._run = run
        self._station = station
        self._value = value
        self._hop = hop
        """How often the loops of the flow were closed on the way here."""
        self._origin = origin
        self._attempt = 0
        self._counted = True
        """Whether it counts against the bound of its queue; messages on a cycle have a cap of their own."""
        self._sent = 0
        self._started = 0.0
        """When the node was called; 0 unless something listened then."""
        self._stream: str | None = None

    def _again(self) -> Context:
        """Return the context of the next attempt."""
        retry = Context(self._run, self._station, self._value, self._hop, self._origin)
        retry._attempt = self._attempt + 1
        retry._counted = False
        return retry

    @property
    def trace_id(self) -> str:
        """The trace this invocation belongs to."""
        return self._run.trace_id

    @property
    def node_name(self) -> str:
        """The node that is running."""
        return self._station.name

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 0."""
        return self._attempt

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at this message, and for no other message: hand it to what must happen once."""
        return message_id(self._run.trace_id, self._station.name, self._origin).hex()

    @property
    def deadline_s(self) -> float | None:
        """When the trace has to have ended: wall clock, seconds since the epoch."""
        return self._run.deadline_s

    @property
    def headers(self) -> Headers:
        """Headers of the message at hand, or else of the one that started the trace."""
        message = self._message()
        return Headers() if message is None else message.headers

    @property
    def meta(self) -> dict[str, Any]:
        """Metadata of the message at hand, or else of the one that started the trace. Read it; emit to change it."""
        message = self._message()
        return {} if message is None else message.meta

    async def emit(self, msg: Payload, to: Node | str | Sequence[Node | str] | None = None) -> None:
        """Send a message to every successor, or only to those in `to`.

        A `FinalAnswer`, or anything from a node without successors, goes to the trace's results. Messages from one
        node to another keep their order. Waits while a successor's queue is full; cancelled then, what was not let
        in is taken back.

        Raises:
            UnknownTarget: `to` names no successor of this node.
        """
        edges = None if to is None else find_edges(self._station, to, self._run.trace_id)
        if edges is None and kind_of(msg) is CHUNK and not self._run.done:
            await self._run.open_chunks().put(msg)
            return
        await self._send_and_wait(msg, edges)

    def emit_nowait(self, msg: Payload, to: Node | str | Sequence[Node | str] | None = None) -> None:
        """Send a message as `emit` does, or not at all.

        Raises:
            QueueFull: a successor's queue is full; nothing was sent.
            UnknownTarget: `to` names no successor of this node.
        """
        edges = None if to is None else find_edges(self._station, to, self._run.trace_id)
        self._send_at_once(msg, edges)

    async def emit_chunk(
        self,
        stream_id: str | None = None,
        seq: int | None = None,
        text: str = "",
        done: bool = False,
        meta: Mapping[str, Any] | None = None,
        to: Node | str | None = None,
    ) -> StreamChunk:
        """Send a piece of a stream to whoever reads the trace's chunks, or to the successor `to`.

        `stream_id` defaults to a stream of this invocation; `seq` counts up from 0 by itself. While someone reads,
        a full buffer makes this wait; while nobody does, the oldest chunk is dropped.

        Raises:
            FlowError: `STREAM_ORDER`, `seq` is not above the last one of the stream, or the stream is done.
        """
        run, station = self._run, self._station
        if run.done:
            raise run.ended_error(station.name)
        edges = None if to is None else find_edges(station, to, run.trace_id)
        chunks = run.open_chunks()
        if stream_id is None:
            if self._stream is None:
                self._stream = self._new_stream()
            stream_id = self._stream
        number = chunks.number(station.name, stream_id, seq, done)
        chunk = StreamChunk(stream_id=stream_id, seq=number, text=text, done=done, meta=dict(meta or {}))
        events = station.runtime.events
        if events is not None:
            events.post("stream_chunk", run, station, attempt=self.attempt, stream_id=stream_id, seq=number, done=done)
        if edges is None:
            await chunks.put(chunk)
            return chunk
        await self._send_and_wait(chunk, edges)
        return chunk

    async def fetch(self) -> Payload:
        """Take the next message that this trace has for this node, past the one at hand, waiting for it.

        Returns None once nothing else in the trace could still send one. A cancelled fetch loses no message. Fetches
        of one invocation at the same time are served one after the other.
        """
        run, station = self._run, self._station
        if run.fetchers is not None:
            await run.fetchers.turn(self)
        if run.done or not self._is_running():
            raise run.ended_error(station.name)
        taken = station.take_waiting(run)
        if taken is None:
            if run.fetchers is None:
                run.fetchers = Fetchers(run)
            taken = await run.fetchers.fetch(self)
            if taken is None:
                return None
        self._note_taken(taken)
        run.pending -= 1
        value = taken._value
        if station.check_in is not None:
            try:
                value = station.check_in(value)
            except Exception as error:
                raise validation_failed(run.trace_id, station.name, "in", error) from error
        return value.payload if station.unwraps and isinstance(value, Message) else value

    async def call_playbook(self, playbook: Playbook, parent_msg: Payload, timeout: float | None = None) -> Payload:  # noqa: ASYNC109
        """Run another flow on a message and return its only value, None if it gives none.

        The subflow runs under the same trace id, within this trace's deadline and budgets, and inherits its
        metadata; its chunks go to this trace's reader. It is cancelled with this trace, and after `timeout` seconds.

        Raises:
            FlowError: the subflow failed, or gave more than one value.
            TimeoutError: it took longer than `timeout`.
        """
        return await run_playbook(self, playbook, parent_msg, timeout)

    async def _send_and_wait(self, value: Payload, edges: Sequence[Edge] | None) -> None:
        blocked = send(self, value, edges)
        if blocked:
            await wait_for_room(self._station, blocked)

    def _send_at_once(self, value: Payload, edges: Sequence[Edge] | None) -> None:
        send(self, value, edges, wait=False)

    def _note_taken(self, taken: Context) -> None:
        """Called with each further message that the node has fetched."""

    def _is_running(self) -> bool:
        """Whether the node has not returned yet; a task that it left behind may ask."""
        if asyncio.current_task() in self._station.workers:
            return True
        return any(invocation.belongs_to(self) for invocation in self._run.running or ())

    async def _collect(self, message: Payload, *, need: int, emit_incomplete: bool) -> list[Payload] | None:
        """Put a part into the join at which this runs; returns the parts, once, where that fires it."""
        run = self._run
        if run.buckets is None:
            run.buckets = Buckets()
        bucket = run.buckets.of(self._station, self._hop, need=need, emit_incomplete=emit_incomplete)
        if bucket.fired:
            self._post("core.join_late", need=need)
            return None
        return bucket.take(message)

    def _new_stream(self, label: str = "") -> str:
        """Return a stream id that is not in use; `label` tells the streams of one invocation apart."""
        base = f"{self._run.scope}:{self._station.name}"
        return self._run.open_chunks().new_stream(f"{base}/{label}" if label else base)

    @property
    def _state_store(self) -> StateStore | None:
        """The store of the flow or, where it has none, of the flow that calls it."""
        run: Run | None = self._run
        while run is not None:
            if run.runtime.state_store is not None:
                return run.runtime.state_store
            run = run.parent
        return None

    @property
    def _is_last_attempt(self) -> bool:
        """Whether nothing is tried again when this attempt fails."""
        return self._attempt >= self._station.policy.max_retries

    @property
    def _listened_to(self) -> bool:
        """Whether an event that is posted reaches anyone."""
        return self._station.runtime.events is not None

    def _post(self, event_type: str, **extra: Any) -> None:
        events = self._station.runtime.events
        if events is not None:
            events.post(event_type, self._run, self._station, attempt=self.attempt, **extra)

    def _policy(self, default: PolicyLike | None) -> PolicyLike | None:
        return self._station.runtime.policies.get(self._station.name, default)

    def _successors(self) -> tuple[str, ...]:
        return tuple(edge.station.name for edge in self._station.edges)

    def _message(self) -> Message | None:
        value = self._value
        if kind_of(value) is not MESSAGE:
            return self._run.message
        message: Message = value
        return message
