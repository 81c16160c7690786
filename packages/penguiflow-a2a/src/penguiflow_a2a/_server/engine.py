"""The operations of the protocol on the tasks of one flow, for callers that are known."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeAlias

from penguiflow import FlowDefinitionError, FlowError, Headers, PenguiFlow
from penguiflow import Message as FlowMessage
from penguiflow_a2a._outcomes import InputRequired, Rejected
from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.requests import ListTasksRequest, SendMessageRequest
from penguiflow_a2a._protocol.tasks import Artifact, Message, Role
from penguiflow_a2a._server.callers import Caller
from penguiflow_a2a._server.checks import check_message, check_modes
from penguiflow_a2a._server.elsewhere import settled_elsewhere
from penguiflow_a2a._server.limits import ServerLimits
from penguiflow_a2a._server.live import LiveTask
from penguiflow_a2a._server.push import Pusher
from penguiflow_a2a._server.records import TaskRecord, trace_id_of
from penguiflow_a2a._server.spellings import Event, Spelling
from penguiflow_a2a._server.store import Page, TaskStore
from penguiflow_a2a._server.streams import no_stream
from penguiflow_a2a._server.values import Reader, new_id, parts_of, said, told, unwrapped

__all__ = ["AnswerKind", "Engine", "Extra", "extra_of"]

AnswerKind: TypeAlias = Literal["task", "message"]
"""Whether a message is answered with a task, or with a message and no task."""

_KNOWN_MESSAGES = 10_000
_CANCEL_WAIT_S = 10.0
_ALIVE_EVERY_S = 20.0
# Three times that somebody has not said that the task is alive, and it is not.
_ORPHANED_AFTER_S = 3 * _ALIVE_EVERY_S


class Extra:
    """What clients of this package say in the metadata of a message, under `penguiflow`; see the client's docs."""

    __slots__ = ("cancel_on_disconnect", "deadline_s", "is_given", "is_repeated", "meta", "trace_id", "traceparent")

    def __init__(self, metadata: dict[str, Any] | None) -> None:
        given = (metadata or {}).get("penguiflow")
        self.is_given = isinstance(given, dict)
        told: dict[str, Any] = given if isinstance(given, dict) else {}
        deadline, trace_id = told.get("deadline"), told.get("traceId")
        self.deadline_s = float(deadline) if isinstance(deadline, int | float) else None
        self.trace_id = trace_id if isinstance(trace_id, str) else None
        traceparent = told.get("traceparent")
        # A W3C trace context has 55 signs.
        self.traceparent = traceparent if isinstance(traceparent, str) and len(traceparent) < 100 else None
        self.meta = told.get("meta")
        self.cancel_on_disconnect = told.get("cancelOnDisconnect") is True
        # Only its client can tell a message that is sent a second time from a retry, or another trace of the same id.
        self.is_repeated = told.get("repeated") is True


_NO_EXTRA = Extra(None)


def extra_of(message: Message) -> Extra:
    """Return what a client of this package says in a message."""
    return Extra(message.metadata) if message.metadata else _NO_EXTRA


class Engine:
    """Runs the tasks of a flow.

    Invariant: `_live` holds every task at work in this process, counted by owner in `_active`, and those of `_idle`,
    which are settled and may be let go when nobody follows them.
    """

    def __init__(
        self,
        flow: PenguiFlow,
        *,
        store: TaskStore,
        limits: ServerLimits,
        reader: Reader,
        answers: Callable[[Message], AnswerKind] | None,
        input_modes: frozenset[str],
        pusher: Pusher,
    ) -> None:
        self.flow = flow
        self.store = store
        self.limits = limits
        self.keeps_changes = store.keeps_changes
        self.is_stopping = False
        self.is_journaled = False
        """Whether traces outlive their process, so that tasks do too."""
        self._reader = reader
        self._answers = answers
        self._input_modes = input_modes
        self._pusher = pusher
        self._live: dict[str, LiveTask] = {}
        self._idle: OrderedDict[str, LiveTask] = OrderedDict()
        self._active: dict[str, int] = {}
        self._at_work = 0
        self._streams: dict[str, int] = {}
        self._open_streams = 0
        self._runners: set[asyncio.Task[None]] = set()
        self._by_message: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._waiting: dict[str, int] = {}
        """How many messages wait here for a task at work in another process."""

    @property
    def active(self) -> int:
        """How many tasks are at work."""
        return self._at_work

    # What clients ask for.

    def answer_kind(self, request: SendMessageRequest) -> AnswerKind:
        """Return what a message is to be answered with."""
        if self._answers is None or request.message.task_id:
            return "task"
        return self._answers(request.message)

    async def send(self, request: SendMessageRequest, caller: Caller, spelling: Spelling) -> LiveTask:
        """Give a message to the task that it names, or to a new one, and return that at work.

        Raises:
            ProtocolError: the message is not as it has to be, or there is no room for it.
        """
        payload = self._read(request)
        message, owner = request.message, caller.owner
        known = self._known(owner, message)
        if known is not None:
            return known
        config = None if request.configuration is None else request.configuration.task_push_notification_config
        if config is not None:
            await self._pusher.check(config)
        if message.task_id:
            live = await self._take_up(owner, message)
            if live.runner is None:
                self._admit(owner)
        else:
            live = await self._open(owner, request)
        record = live.record
        self._idle.pop(record.id, None)
        if config is not None:
            self._pusher.keep(record, config, spelling)
        live.begin(request, payload, record.stamp(message))
        return live

    async def reply(self, request: SendMessageRequest, caller: Caller) -> Message:
        """Run a message through the flow and return its answer; there is no task."""
        payload = self._read(request)
        self._admit(caller.owner)
        try:
            record = TaskRecord(new_id(), request.message.context_id or new_id(), caller.owner)
            envelope = self.envelope(request, payload, record, record.id)
            async with await self.flow.submit(envelope) as trace:
                values = [unwrapped(value) for _, value in await trace.results()]
        except FlowError as error:
            raise ProtocolError(ErrorKind.INTERNAL_ERROR, told(error)) from error
        finally:
            self.release(caller.owner)
        return _as_message(values).model_copy(update={"context_id": record.context_id, "task_id": None})

    async def find(self, owner: str, task_id: str) -> tuple[TaskRecord, LiveTask | None]:
        """Return a task of an owner and, where this process has it, the task at work.

        Raises:
            ProtocolError: the owner has no task of this id.
        """
        live = self._live.get(task_id)
        if live is not None and live.record.owner == owner:
            live.sync()
            return live.record, live
        record = await self.store.get(owner, task_id) if live is None else None
        if record is None:
            raise ProtocolError(ErrorKind.TASK_NOT_FOUND, metadata={"taskId": task_id})
        if not record.state.is_settled and record.alive_at < time.time() - _ORPHANED_AFTER_S:
            return record, await self._take_over(record)
        return record, None

    async def _take_over(self, record: TaskRecord) -> LiveTask:
        """Go on with a task whose process is gone: with its trace, where that is recorded, and to its end otherwise."""
        trace = None
        if self.is_journaled:
            with contextlib.suppress(FlowError):
                trace = await self.flow.attach(trace_id_of(record))
        live = self.adopt(record)
        if live.runner is not None or live.record.state.is_settled:
            return live
        if trace is None:
            live.give_up()
        else:
            self._admit(record.owner)
            self._idle.pop(record.id, None)
            live.take_over(trace)
            self.store.note(record, "alive", b"{}")
        await self.store.flush(record)
        return live

    async def list(self, owner: str, request: ListTasksRequest) -> Page:
        """Return a page of an owner's tasks."""
        page = await self.store.find(owner, request)
        for record in page.records:
            live = self._live.get(record.id)
            if live is not None:
                live.sync()
        return page

    async def cancel(self, owner: str, task_id: str) -> TaskRecord:
        """Cancel a task and return it, ended.

        Raises:
            ProtocolError: there is no such task, or it has ended already.
        """
        record, live = await self.find(owner, task_id)
        if record.state.is_terminal:
            text = f"Task cannot be canceled: it is {record.state.name.lower()} already"
            raise ProtocolError(ErrorKind.TASK_NOT_CANCELABLE, text, metadata={"taskId": task_id})
        if live is None and not record.state.is_settled:
            return await self._cancel_elsewhere(record)
        if live is None:
            live = self.adopt(record)
        await live.cancel()
        await live.settled(_CANCEL_WAIT_S)
        await self.store.flush(live.record)
        return live.record

    async def _cancel_elsewhere(self, record: TaskRecord) -> TaskRecord:
        """Have the process that works on a task cancel it, as far as the flow reaches other processes."""
        await self.flow.cancel(trace_id_of(record))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CANCEL_WAIT_S):
                return await settled_elsewhere(self.store, record)
        text = "Task cannot be canceled here: it is at work in another process"
        raise ProtocolError(ErrorKind.TASK_NOT_CANCELABLE, text, metadata={"taskId": record.id})

    def rest_spelling(self, task_id: str) -> int | None:
        """Return how the client of 0.3 over HTTP+JSON writes that began a task; None where nobody knows."""
        live = self._live.get(task_id)
        return None if live is None else live.record.rest_spelling

    def _read(self, request: SendMessageRequest) -> Any:
        """Return the payload of a message, which has to be as the protocol and the flow want it."""
        message = request.message
        check_message(message, self.limits)
        check_modes(message, self._input_modes)
        try:
            return self._reader(message)
        except ValueError as error:
            raise ProtocolError(ErrorKind.INVALID_PARAMS, f"message: {error}") from error

    # What tasks at work need.

    def envelope(self, request: SendMessageRequest, payload: Any, record: TaskRecord, trace_id: str) -> FlowMessage:
        """Return what the flow is given: the payload, and everything else about the call in its metadata."""
        message = request.message
        extra = extra_of(message)
        about: dict[str, Any] = {
            "taskId": record.id,
            "contextId": record.context_id,
            "principal": record.owner,
            "message": json.loads(record.history[-1]) if record.history else message.to_wire(),
            "history": [json.loads(each) for each in record.history[:-1]],
        }
        if message.metadata and isinstance(message.metadata.get("skill"), str):
            about["skill"] = message.metadata["skill"]
        if request.metadata:
            about["metadata"] = request.metadata
        if extra.is_given:
            about["callerTraceId"], about["callerMeta"] = extra.trace_id, extra.meta
        return FlowMessage(
            payload=payload,
            headers=Headers(tenant=request.tenant or "default"),
            trace_id=trace_id,
            deadline_s=self._deadline(extra.deadline_s),
            meta={"a2a": about} if extra.traceparent is None else {"a2a": about, "traceparent": extra.traceparent},
        )

    def _deadline(self, asked_s: float | None) -> float | None:
        if self.limits.task_timeout_s is None:
            return asked_s
        latest = time.time() + self.limits.task_timeout_s
        return latest if asked_s is None else min(asked_s, latest)

    def start(self, running: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the traces of a task."""
        runner = asyncio.create_task(running)
        self._runners.add(runner)
        runner.add_done_callback(self._runners.discard)
        return runner

    async def keep_alive(self) -> None:
        """Say of the tasks at work, from time to time, that somebody works on them."""
        while self.keeps_changes:
            await asyncio.sleep(_ALIVE_EVERY_S)
            for live in self._live.values():
                if live.runner is not None:
                    self.store.note(live.record, "alive", b"{}")

    def note(self, record: TaskRecord, kind: str, data: bytes) -> None:
        """Tell the store of a change."""
        self.store.note(record, kind, data)

    def push(self, live: LiveTask, event: Event) -> None:
        """Tell those who asked to be called of an event."""
        if live.record.push:
            self._pusher.dispatch(live.record, event)

    def release(self, owner: str) -> None:
        """Take note that one of an owner's tasks is not at work any more."""
        self._at_work -= 1
        left = self._active.get(owner, 0) - 1
        if left > 0:
            self._active[owner] = left
        else:
            self._active.pop(owner, None)

    async def look_for_journal(self) -> None:
        """Find out whether the flow keeps a journal of its traces."""
        if self.keeps_changes:
            try:
                await self.flow.attach("a2a: is there a journal?")
            except FlowDefinitionError:
                self.is_journaled = False
            except FlowError:
                self.is_journaled = True

    def forget(self, live: LiveTask) -> None:
        """Let go of a task that other processes go on with."""
        self._live.pop(live.record.id, None)
        self._idle.pop(live.record.id, None)

    def rest(self, live: LiveTask) -> None:
        """Keep a settled task at hand for a while, for streams that are taken up again."""
        self._idle[live.record.id] = live
        self._idle.move_to_end(live.record.id)
        if len(self._idle) > self.limits.replay_tasks:
            for task_id, each in self._idle.items():
                if not each.log.subscriptions:
                    del self._idle[task_id], self._live[task_id]
                    break

    def open_stream(self, owner: str) -> None:
        """Count a stream of an owner.

        Raises:
            ProtocolError: too many are open.
        """
        count = self._streams.get(owner, 0)
        if count >= self.limits.max_streams_per_owner or self._open_streams >= self.limits.max_streams:
            raise no_stream()
        self._streams[owner] = count + 1
        self._open_streams += 1

    def close_stream(self, owner: str) -> None:
        """Count a stream of an owner no more."""
        self._open_streams -= 1
        left = self._streams[owner] - 1
        if left:
            self._streams[owner] = left
        else:
            del self._streams[owner]

    # Which tasks are in memory.

    async def _open(self, owner: str, request: SendMessageRequest) -> LiveTask:
        self._admit(owner)
        message = request.message
        record = TaskRecord(new_id(), message.context_id or new_id(), owner, metadata=request.metadata)
        try:
            await self.store.add(record)
        except BaseException:
            self.release(owner)
            raise
        live = self._live[record.id] = LiveTask(self, record)
        if extra_of(message).is_given:
            self._by_message[owner, message.message_id] = record.id
            if len(self._by_message) > _KNOWN_MESSAGES:
                self._by_message.popitem(last=False)
        return live

    async def _take_up(self, owner: str, message: Message) -> LiveTask:
        """Return the task that a message belongs to, ready for it."""
        assert message.task_id is not None
        record, live = await self.find(owner, message.task_id)
        if message.context_id and message.context_id != record.context_id:
            text = "the message's contextId is not that of its task"
            raise ProtocolError(ErrorKind.INVALID_PARAMS, text, violations=[("message.contextId", text)])
        if live is None and not record.state.is_settled:
            record, live = await self._wait_for_turn(record)
        if record.state.is_terminal:
            text = f"The task is {record.state.name.lower()} and takes no more messages; start a new one"
            raise ProtocolError(ErrorKind.UNSUPPORTED_OPERATION, text, metadata={"taskId": record.id})
        if len(record.history) >= self.limits.max_history:
            raise ProtocolError(ErrorKind.RESOURCE_EXHAUSTED, "The task has too many messages")
        if live is None:
            live = self.adopt(record)
        if live.queued >= self.limits.max_queued_messages:
            raise _too_many_messages()
        return live

    async def _wait_for_turn(self, record: TaskRecord) -> tuple[TaskRecord, LiveTask | None]:
        """Return a task that another process has settled by now, and what this process has of it, if anything.

        Raises:
            ProtocolError: that takes too long, or too many messages wait for it.
        """
        waiting = self._waiting.get(record.id, 0)
        if waiting >= self.limits.max_queued_messages:
            raise _too_many_messages()
        self._waiting[record.id] = waiting + 1
        try:
            async with asyncio.timeout(self.limits.max_turn_wait_s):
                record = await settled_elsewhere(self.store, record)
        except TimeoutError:
            text = "The task is at work in another process; send the message again when it asks for input"
            raise ProtocolError(ErrorKind.UNAVAILABLE, text, headers={"retry-after": "1"}) from None
        finally:
            self._waiting[record.id] -= 1
            if not self._waiting[record.id]:
                del self._waiting[record.id]
        live = self._live.get(record.id)
        return (record, None) if live is None else (live.record, live)

    def adopt(self, record: TaskRecord) -> LiveTask:
        """Take a settled task up, as it is in the store."""
        live = self._live.get(record.id)
        if live is None:
            live = self._live[record.id] = LiveTask(self, record, next_seq=record.last_seq + 1)
            self.rest(live)
        return live

    def _known(self, owner: str, message: Message) -> LiveTask | None:
        """Return the task that this very message has started, if a client that says so sends it again."""
        if not self._by_message or message.task_id:
            return None
        task_id = self._by_message.get((owner, message.message_id))
        live = None if task_id is None else self._live.get(task_id)
        return live if extra_of(message).is_repeated else None

    def _admit(self, owner: str) -> None:
        """Count a task of an owner as at work.

        Raises:
            ProtocolError: too many are, or the server stops.
        """
        if self.is_stopping:
            raise ProtocolError(ErrorKind.UNAVAILABLE, headers={"retry-after": "5"})
        if self._at_work >= self.limits.max_active_tasks:
            text = "Too many tasks are at work"
            raise ProtocolError(ErrorKind.UNAVAILABLE, text, headers={"retry-after": "1"})
        if self._active.get(owner, 0) >= self.limits.max_active_tasks_per_owner:
            text = "Too many of your tasks are at work"
            raise ProtocolError(ErrorKind.RESOURCE_EXHAUSTED, text, headers={"retry-after": "1"})
        self._at_work += 1
        self._active[owner] = self._active.get(owner, 0) + 1

    async def stop(self, timeout_s: float) -> None:
        """Wait for the tasks at work for so long, then end them."""
        self.is_stopping = True
        if self._runners:
            await asyncio.wait(self._runners, timeout=timeout_s)
        for runner in tuple(self._runners):
            runner.cancel()
        if self._runners:
            await asyncio.wait(self._runners, timeout=timeout_s)
        for live in tuple(self._live.values()):
            for subscription in tuple(live.log.subscriptions):
                subscription.drop()
            with contextlib.suppress(Exception):
                await self.store.flush(live.record)


def _as_message(values: list[Any]) -> Message:
    for value in values:
        if isinstance(value, Message):
            return said(value)
        if isinstance(value, InputRequired | Rejected):
            return said(value.message)
    parts = []
    for value in values:
        if value is not None:
            parts += value.parts if isinstance(value, Artifact) else parts_of(value)
    return Message(message_id=new_id(), role=Role.AGENT, parts=parts)


def _too_many_messages() -> ProtocolError:
    text = "Too many messages wait for the task already"
    return ProtocolError(ErrorKind.RESOURCE_EXHAUSTED, text, headers={"retry-after": "1"})
