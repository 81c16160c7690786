"""Tasks kept by a flow's StateStore, under event kinds of their own, so that they outlive the process."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from penguiflow import StateStore
from penguiflow_a2a._protocol.requests import ListTasksRequest, TaskPushNotificationConfig
from penguiflow_a2a._protocol.tasks import TaskState
from penguiflow_a2a._server.limits import ServerLimits
from penguiflow_a2a._server.records import TaskRecord
from penguiflow_a2a._server.spellings import dump
from penguiflow_a2a._server.store import Page, page_of
from penguiflow_a2a._server.values import STREAM_METADATA

__all__ = ["StateTaskStore"]

logger = logging.getLogger("penguiflow_a2a.server")

_PREFIX = "a2a."


class _Writer:
    """Saves the changes of one task in order. Pieces of one artifact that wait together are saved together."""

    def __init__(self, store: StateStore, history_id: str, on_idle: Callable[[], object]) -> None:
        self._store = store
        self._history_id = history_id
        self._on_idle = on_idle
        self._waiting: deque[tuple[float, str, dict[str, Any]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._error: Exception | None = None

    def add(self, kind: str, data: dict[str, Any]) -> None:
        """Save a change after those before it."""
        last = self._waiting[-1] if self._waiting else None
        if kind == "chunk" and last is not None and last[1] == "chunk" and last[2]["artifactId"] == data["artifactId"]:
            last[2]["texts"].append(data["text"])
            last[2]["seq"] = data["seq"]
            return
        if kind == "chunk":
            data = {"artifactId": data["artifactId"], "texts": [data["text"]], "seq": data["seq"]}
        self._waiting.append((time.time(), kind, data))
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                at, kind, data = self._waiting.popleft()
                await self._store.save_event(self._history_id, at, _PREFIX + kind, data)
        except Exception as error:
            logger.error("%s could not be saved: %r", self._history_id, error)
            self._error = error
            self._waiting.clear()
        finally:
            self._task = None
            if self._error is None:
                self._on_idle()

    async def flush(self) -> None:
        """Return when everything that was added so far is saved.

        Raises:
            Exception: what the store raised; it is raised once.
        """
        while self._task is not None:
            await asyncio.shield(self._task)
        if self._error is not None:
            error, self._error = self._error, None
            raise error


class StateTaskStore:
    """Keeps tasks in a `StateStore`: any process that shares it can answer for them.

    Each task has a history of its own, `a2a-task:<id>`, and each owner a list of its tasks, `a2a-owner:<owner>`. What
    has been read lately is kept in memory while nobody else can change it, that is once it has ended.
    """

    keeps_changes = True

    def __init__(self, store: StateStore, limits: ServerLimits | None = None) -> None:
        self._store = store
        self._limits = limits or ServerLimits()
        self._writers: dict[str, _Writer] = {}
        self._ended: OrderedDict[str, TaskRecord] = OrderedDict()

    async def add(self, record: TaskRecord) -> None:
        """Begin to keep a task; it is listed once this returns."""
        about = {"id": record.id, "contextId": record.context_id, "owner": record.owner, "metadata": record.metadata}
        await self._store.save_event(_history_of(record.id), record.created_at, _PREFIX + "task", about)
        listed = {"id": record.id}
        await self._store.save_event(_list_of(record.owner), record.created_at, _PREFIX + "listed", listed)

    async def get(self, owner: str, task_id: str) -> TaskRecord | None:
        """Return a task of an owner, as it was saved."""
        known = self._ended.get(task_id)
        if known is not None:
            return known if known.owner == owner else None
        record = _folded(await self._store.load_history(_history_of(task_id)))
        if record is None or record.owner != owner:
            return None
        if record.state.is_terminal:
            self._ended[task_id] = record
            if len(self._ended) > self._limits.replay_tasks:
                self._ended.popitem(last=False)
        return record

    def note(self, record: TaskRecord, kind: str, data: bytes) -> None:
        """Save a change, after those of the task before it."""
        writer = self._writers.get(record.id)
        if writer is None:
            on_idle = functools.partial(self._writers.pop, record.id, None)
            writer = self._writers[record.id] = _Writer(self._store, _history_of(record.id), on_idle)
        content = json.loads(data)
        if kind == "status":
            content = {"status": content, "at": record.updated_at, "seq": record.last_seq}
        elif kind == "chunk":
            content["seq"] = record.last_seq
        elif kind == "artifact":
            content = {"artifact": content, "seq": record.last_seq}
        writer.add(kind, content)

    async def flush(self, record: TaskRecord) -> None:
        """Return when the changes of a task are saved.

        Raises:
            Exception: what the store raised.
        """
        writer = self._writers.get(record.id)
        if writer is not None:
            await writer.flush()
            self._writers.pop(record.id, None)

    async def find(self, owner: str, request: ListTasksRequest) -> Page:
        """Return a page of an owner's tasks. Each is read, so this takes as long as the owner has tasks."""
        listed = await self._store.load_history(_list_of(owner))
        latest = listed[-self._limits.max_tasks_per_owner :]
        found = [await self.get(owner, each["data"]["id"]) for each in latest]
        return page_of((record for record in found if record is not None), request)


def _history_of(task_id: str) -> str:
    return f"a2a-task:{task_id}"


def _list_of(owner: str) -> str:
    return f"a2a-owner:{owner}"


def _folded(events: list[Any]) -> TaskRecord | None:
    """Return the task that a history tells of; None where it tells of none."""
    if not events or events[0]["kind"] != _PREFIX + "task":
        return None
    about = events[0]["data"]
    record = TaskRecord(about["id"], about["contextId"], about["owner"], metadata=about["metadata"])
    record.created_at = record.updated_at = events[0]["ts"]
    record.alive_at = events[-1]["ts"]
    streamed: dict[str, list[str]] = {}
    for event in events[1:]:
        _fold(record, event["kind"].removeprefix(_PREFIX), event["data"], streamed)
    _put_streamed(record, streamed)
    return record


def _fold(record: TaskRecord, kind: str, data: dict[str, Any], streamed: dict[str, list[str]]) -> None:
    if kind == "message":
        record.add_message(dump(data))
    elif kind == "chunk":
        streamed.setdefault(data["artifactId"], []).extend(data["texts"])
        record.last_seq = data["seq"]
    elif kind == "artifact":
        _put_streamed(record, streamed)
        record.put_artifact(data["artifact"]["artifactId"], dump(data["artifact"]))
        record.last_seq = data["seq"]
    elif kind == "status":
        status = data["status"]
        state = TaskState(status["state"])
        record.turn += state is TaskState.WORKING
        record.restore(state, data["at"], dump(status["message"]) if "message" in status else None, data["seq"])
    elif kind == "push" and "deleted" in data:
        record.drop_push(data["deleted"])
    elif kind == "push":
        record.set_push(TaskPushNotificationConfig.model_validate(data["config"]), data["spelling"])


def _put_streamed(record: TaskRecord, streamed: dict[str, list[str]]) -> None:
    for artifact_id, texts in streamed.items():
        parts = [{"text": "".join(texts)}]
        record.put_artifact(artifact_id, dump({"artifactId": artifact_id, "metadata": STREAM_METADATA, "parts": parts}))
    streamed.clear()
