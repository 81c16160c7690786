"""A task at work: the traces that do it, one after the other, and what becomes of their chunks and values."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from penguiflow import FlowError, FlowErrorCode, StreamChunk, Trace, TraceCancelled
from penguiflow_a2a._outcomes import InputRequired, Rejected
from penguiflow_a2a._protocol.requests import SendMessageRequest
from penguiflow_a2a._protocol.tasks import Message, TaskState
from penguiflow_a2a._server.log import EventLog
from penguiflow_a2a._server.records import TaskRecord, json_string, trace_id_of
from penguiflow_a2a._server.spellings import ArtifactEvent, ArtifactFrame, ChunkEvent, StatusEvent, WireEvent, dump
from penguiflow_a2a._server.values import STREAM_METADATA, artifact_of, said, told, unwrapped

if TYPE_CHECKING:
    from penguiflow_a2a._server.engine import Engine

__all__ = ["LiveTask", "Streamed"]

logger = logging.getLogger("penguiflow_a2a.server")

_OVER = frozenset({TaskState.FAILED, TaskState.REJECTED, TaskState.CANCELED})
_STOPPED = frozenset({FlowErrorCode.FLOW_STOPPED, FlowErrorCode.NOT_RUNNING, FlowErrorCode.LEASE_LOST})


class _LeftToOthers(Exception):
    """The trace goes on in another process, from what is recorded of it."""


# What `artifact_of` makes of text, without the detour over models: most results are text.
_TEXT_RESULT = b'{"artifactId":%s,"name":"result","parts":[{"text":%s}],"metadata":{"penguiflow":{"role":"result"}}}'


class Streamed:
    """An artifact whose text comes in pieces; it is put together only when somebody asks for the task."""

    __slots__ = ("after", "artifact_id", "before", "frame", "is_dirty", "pieces", "started", "unsynced_bytes")

    def __init__(self, record: TaskRecord, artifact_id: str) -> None:
        self.artifact_id = artifact_id
        self.frame = ArtifactFrame(record.id, record.context_id, artifact_id, STREAM_METADATA)
        head = {"artifactId": artifact_id, "metadata": STREAM_METADATA}
        self.before = dump(head)[:-1] + b',"parts":[{"text":"'
        self.after = b'"}]}'
        self.pieces: list[bytes] = []
        self.started = self.is_dirty = False
        self.unsynced_bytes = 0
        """How much of it the record counts beside the artifact that it holds."""

    def document(self) -> bytes:
        """Return the artifact as version 1.0 writes it."""
        self.pieces = [b"".join(self.pieces)]
        self.is_dirty = False
        return self.before + self.pieces[0] + self.after

    def piece(self, text: bytes) -> bytes:
        """Return a piece of the artifact, a JSON string, as a store keeps it."""
        return b'{"artifactId":%s,"text":%s}' % (json_string(self.artifact_id), text)

    @property
    def text(self) -> bytes:
        """All the text so far, as a JSON string."""
        return b'"' + b"".join(self.pieces) + b'"'


class LiveTask:
    """A task of this process that is at work or was until lately. All its changes go through here.

    Invariant: `record` changes in the same step as the event that tells of it is appended to `log`, so that a
    snapshot taken at an event's number holds everything up to it and nothing after.
    """

    __slots__ = (
        "_cancelled",
        "_engine",
        "_head",
        "_is_submitting",
        "_pending",
        "_settled",
        "_streams",
        "log",
        "record",
        "runner",
        "trace",
        "watchers",
    )

    def __init__(self, engine: Engine, record: TaskRecord, *, next_seq: int = 1) -> None:
        self._engine = engine
        self.record = record
        self.log = EventLog(engine.limits, next_seq=next_seq)
        self.runner: asyncio.Task[None] | None = None
        """What runs the traces; None while the task is settled."""
        self._head = b'{"taskId":%s,"contextId":%s' % (json_string(record.id), json_string(record.context_id))
        self.trace: Trace | None = None
        self.watchers = 0
        """How many requests are following the task."""
        self._pending: deque[tuple[SendMessageRequest, Any]] = deque()
        self._streams: dict[str, Streamed] = {}
        self._settled: list[asyncio.Future[None]] = []
        self._cancelled = False
        self._is_submitting = False

    # What requests do.

    def begin(self, request: SendMessageRequest, payload: Any, message: bytes) -> None:
        """Start a turn with the payload of a message; where one is at work, the message is next."""
        if self.record.state.is_interrupted and self.runner is None:
            self._change(TaskState.SUBMITTED)
        self.record.add_message(message)
        if self._engine.keeps_changes:
            self._engine.note(self.record, "message", message)
        self._pending.append((request, payload))
        if self.runner is None:
            self._cancelled = False
            self.runner = self._engine.start(self._run())

    @property
    def queued(self) -> int:
        """How many messages wait for their turn."""
        return len(self._pending)

    async def settled(self, timeout_s: float) -> None:
        """Wait until no turn is at work, at most so long."""
        if self.runner is None:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._settled.append(waiter)
        timer = asyncio.get_running_loop().call_later(timeout_s, _release, waiter)
        try:
            await waiter
        finally:
            timer.cancel()

    async def cancel(self) -> None:
        """Cancel the task: its trace is cancelled, and what waits for its turn is dropped."""
        self._pending.clear()
        self._cancelled = True
        if self.runner is None:
            self._settle(TaskState.CANCELED, None)
        elif self.trace is not None:
            await self.trace.cancel()
        elif self._is_submitting:
            self.runner.cancel()
        # Otherwise the runner has yet to take its first step, and will find nothing to do.

    def take_over(self, trace: Trace) -> None:
        """Follow the trace of a task whose process is gone, and which others go on with."""
        self.runner = self._engine.start(self._run(trace))

    def give_up(self) -> None:
        """End a task that a process which is gone has left at work."""
        self._settle(TaskState.FAILED, said("The agent stopped before the task had ended."))

    def snapshot(self, history_length: int | None = None) -> WireEvent:
        """Return the task as an event of its streams, numbered with the last event that it includes."""
        self.sync()
        event = WireEvent("task", self.record.document(history_length=history_length))
        event.seq = self.log.next_seq - 1
        return event

    def sync(self) -> None:
        """Bring the artifacts of the record up to date with what has streamed in."""
        for stream in self._streams.values():
            if stream.is_dirty:
                self.record.size_bytes -= stream.unsynced_bytes
                stream.unsynced_bytes = 0
                self.record.put_artifact(stream.artifact_id, stream.document())

    # What the traces do.

    async def _run(self, taken_over: Trace | None = None) -> None:
        state, message, is_left = TaskState.WORKING, None, False
        try:
            if taken_over is not None:
                state, message = await self._see_through(taken_over)
            while self._pending and state not in _OVER:
                state, message = await self._turn(*self._pending.popleft())
            if self._cancelled:
                state, message = TaskState.CANCELED, None
        except _LeftToOthers:
            is_left = True
        except asyncio.CancelledError:
            is_left = self._engine.is_journaled and not self._cancelled
            if self.trace is not None and not is_left:
                self.trace.cancel()
            state, message = self._interrupted()
        except Exception:
            logger.exception("task %s failed in the server", self.record.id, extra=self._ids())
            state, message = TaskState.FAILED, said("The task failed.")
        finally:
            self._pending.clear()
            self.trace = None
            self.runner = None
            self._engine.release(self.record.owner)
            if is_left:
                self._leave()
            else:
                self._settle(state, message)

    def _interrupted(self) -> tuple[TaskState, Message | None]:
        if self._cancelled:
            return TaskState.CANCELED, None
        return TaskState.FAILED, said("The agent stopped before the task had ended.")

    async def _turn(self, request: SendMessageRequest, payload: Any) -> tuple[TaskState, Message | None]:
        engine, record = self._engine, self.record
        record.turn += 1
        self._streams.clear()
        envelope = engine.envelope(request, payload, record, trace_id_of(record))
        self._is_submitting = True
        try:
            trace = await engine.flow.submit(envelope)
        except FlowError as error:
            return self._failed(error)
        finally:
            self._is_submitting = False
        self.trace = trace
        self._change(TaskState.WORKING)
        return await self._see_through(trace)

    async def _see_through(self, trace: Trace) -> tuple[TaskState, Message | None]:
        """Follow a trace to its end, and return what its task comes to."""
        engine, record, log = self._engine, self.record, self.log
        self.trace = trace
        try:
            async for chunk in trace.chunks():
                self._take(chunk)
                if log.subscriptions and log.is_full():
                    await log.room()
                if engine.keeps_changes and not log.next_seq % engine.limits.stream_window:
                    await engine.store.flush(record)
                if record.size_bytes > engine.limits.max_task_bytes:
                    return await self._outgrown(trace)
            values = await trace.results()
        except TraceCancelled:
            return TaskState.CANCELED, None
        except FlowError as error:
            return self._failed(error)
        return self._outcome([unwrapped(value) for _, value in values])

    def _failed(self, error: FlowError) -> tuple[TaskState, Message | None]:
        if error.code in _STOPPED:
            if self._engine.is_journaled:
                raise _LeftToOthers
            return self._interrupted()
        logger.warning("task %s failed: %s", self.record.id, error, extra=self._ids())
        return TaskState.FAILED, said(told(error))

    async def _outgrown(self, trace: Trace) -> tuple[TaskState, Message]:
        await trace.cancel()
        size = self._engine.limits.max_task_bytes
        return TaskState.FAILED, said(f"The task has grown beyond {size} bytes.")

    def _take(self, chunk: StreamChunk) -> None:
        stream = self._streams.get(chunk.stream_id)
        if stream is None:
            stream = self._streams[chunk.stream_id] = Streamed(self.record, self._unused_id(chunk.stream_id))
            # It has its place among the artifacts from its first piece on.
            self.record.put_artifact(stream.artifact_id, stream.document())
        text = json_string(chunk.text)
        size = len(text)
        stream.pieces.append(text[1:-1])
        stream.is_dirty = True
        stream.unsynced_bytes += size - 2
        self.record.size_bytes += size - 2
        event = ChunkEvent(stream.frame, text, append=stream.started, last=chunk.done)
        stream.started = True
        self.log.append(event, size + 200)
        self.record.last_seq = event.seq
        engine = self._engine
        if engine.keeps_changes:
            engine.note(self.record, "chunk", stream.piece(text))

    def _unused_id(self, wanted: str) -> str:
        known = self.record.artifacts
        artifact_id, turn = wanted, self.record.turn
        while artifact_id in known or any(each.artifact_id == artifact_id for each in self._streams.values()):
            artifact_id, turn = f"{wanted}~{turn}", turn + 1
        return artifact_id

    def _outcome(self, values: list[Any]) -> tuple[TaskState, Message | None]:
        state, message = TaskState.COMPLETED, None
        for value in values:
            if isinstance(value, InputRequired):
                state = TaskState.AUTH_REQUIRED if value.is_about_auth else TaskState.INPUT_REQUIRED
                message = said(value.message)
            elif isinstance(value, Rejected):
                state, message = TaskState.REJECTED, said(value.message)
            elif isinstance(value, Message):
                message = said(value)
            elif isinstance(value, str) and not self._was_streamed(value):
                artifact_id = self._unused_id("result")
                self._add_artifact(artifact_id, _TEXT_RESULT % (json_string(artifact_id), json_string(value)))
            elif artifact := None if isinstance(value, str) else artifact_of(value, self._unused_id("result")):
                self._add_artifact(artifact.artifact_id, artifact.to_wire_json())
        return state, message

    def _was_streamed(self, value: Any) -> bool:
        """Whether a value is the text that was streamed before it: then it stands in the task already."""
        if not isinstance(value, str) or len(self._streams) != 1:
            return False
        (stream,) = self._streams.values()
        return stream.text == json_string(value)

    def _add_artifact(self, artifact_id: str, written: bytes) -> None:
        record = self.record
        record.put_artifact(artifact_id, written)
        event = ArtifactEvent(self._head, written)
        self.log.append(event, len(written) + 200)
        record.last_seq = event.seq
        if self._engine.keeps_changes:
            self._engine.note(record, "artifact", written)
        self._engine.push(self, event)

    def _change(self, state: TaskState, message: bytes | None = None) -> None:
        record = self.record
        record.set_status(state, message)
        event = StatusEvent(self._head, state, record.updated_at, message)
        self.log.append(event, len(message or b"") + 200)
        record.last_seq = event.seq
        self._engine.note(record, "status", record.status if self._engine.keeps_changes else b"")
        self._engine.push(self, event)

    def _settle(self, state: TaskState, message: Message | None) -> None:
        self.sync()
        self._streams.clear()
        self._change(state, None if message is None else self.record.stamp(message))
        if logger.isEnabledFor(logging.INFO):
            took_s = time.time() - self.record.created_at
            logger.info("task %s is %s after %.3f s", self.record.id, state.name, took_s, extra=self._ids())
        self._engine.rest(self)
        self._wake()

    def _leave(self) -> None:
        """Leave the task to the processes that go on with its trace: its streams end, and can be taken up there."""
        self.sync()
        self._engine.forget(self)
        for subscription in tuple(self.log.subscriptions):
            subscription.drop()
        self._wake()

    def _wake(self) -> None:
        waiters, self._settled = self._settled, []
        for waiter in waiters:
            _release(waiter)

    def _ids(self) -> dict[str, str]:
        record = self.record
        return {"trace_id": record.id, "taskId": record.id, "contextId": record.context_id}


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
