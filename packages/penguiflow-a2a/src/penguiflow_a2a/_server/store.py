"""Where tasks are kept: the protocol, and in memory."""

from __future__ import annotations

import base64
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.requests import ListTasksRequest
from penguiflow_a2a._protocol.tasks import TaskState
from penguiflow_a2a._server.limits import ServerLimits
from penguiflow_a2a._server.records import TaskRecord, parse_timestamp

__all__ = ["MemoryTaskStore", "Page", "TaskStore", "from_token", "page_of", "to_token"]

DEFAULT_PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the tasks that were asked for, those that changed last first."""

    records: list[TaskRecord]
    next_token: str
    """Where the next page begins; empty on the last one."""
    total: int


@runtime_checkable
class TaskStore(Protocol):
    """Keeps tasks for a server.

    A record that was added is the same object until it is let go: the server changes it and says so with `note`. What
    is not in memory any more, or was never, `get` makes anew.
    """

    keeps_changes: bool
    """Whether `note` wants the changes themselves; otherwise it is told only that the status changed."""

    async def add(self, record: TaskRecord) -> None:
        """Begin to keep a task."""
        ...

    async def get(self, owner: str, task_id: str) -> TaskRecord | None:
        """Return a task; None where its owner has none of this id."""
        ...

    def note(self, record: TaskRecord, kind: str, data: bytes) -> None:
        """Take note of a change: `message`, `status`, `artifact`, `chunk` or `push`, as JSON; it is saved in order."""
        ...

    async def flush(self, record: TaskRecord) -> None:
        """Return when every change noted so far is safe.

        Raises:
            Exception: a change could not be saved.
        """
        ...

    async def find(self, owner: str, request: ListTasksRequest) -> Page:
        """Return a page of an owner's tasks."""
        ...


class MemoryTaskStore:
    """Keeps tasks in this process: so many an owner, so many in all, and for so long after their last change.

    Tasks at work are never let go; they are bounded by how many may be at work.
    """

    keeps_changes = False

    def __init__(self, limits: ServerLimits | None = None) -> None:
        self._limits = limits or ServerLimits()
        # Both in the order of the last change, the oldest first.
        self._all: OrderedDict[str, TaskRecord] = OrderedDict()
        self._owned: dict[str, OrderedDict[str, TaskRecord]] = {}

    def __len__(self) -> int:
        return len(self._all)

    async def add(self, record: TaskRecord) -> None:
        """Begin to keep a task, letting go of old ones where there are too many."""
        self._all[record.id] = record
        owned = self._owned.get(record.owner)
        if owned is None:
            owned = self._owned[record.owner] = OrderedDict()
        owned[record.id] = record
        if len(owned) > self._limits.max_tasks_per_owner:
            self._let_one_go(owned)
        if len(self._all) > self._limits.max_tasks:
            self._let_one_go(self._all)
        self._let_expired_go()

    async def get(self, owner: str, task_id: str) -> TaskRecord | None:
        """Return a task of an owner."""
        record = self._all.get(task_id)
        if record is None or record.owner != owner:
            return None
        if record.state.is_settled and self._is_expired(record):
            self._drop(record)
            return None
        return record

    def note(self, record: TaskRecord, kind: str, data: bytes) -> None:
        """Take note that a task has changed just now."""
        if record.id in self._all:
            self._all.move_to_end(record.id)
            self._owned[record.owner].move_to_end(record.id)

    async def flush(self, record: TaskRecord) -> None:
        """Nothing is kept back."""

    async def find(self, owner: str, request: ListTasksRequest) -> Page:
        """Return a page of an owner's tasks."""
        owned = self._owned.get(owner, OrderedDict())
        return page_of((record for record in owned.values() if not self._is_gone(record)), request)

    def _is_gone(self, record: TaskRecord) -> bool:
        return record.state.is_settled and self._is_expired(record)

    def _is_expired(self, record: TaskRecord) -> bool:
        return record.updated_at < time.time() - self._limits.task_ttl_s

    def _let_one_go(self, records: OrderedDict[str, TaskRecord]) -> None:
        for record in records.values():
            if record.state.is_settled:
                self._drop(record)
                return

    def _let_expired_go(self) -> None:
        # Two a call keep up with one that is added.
        for _ in range(2):
            oldest = next(iter(self._all.values()), None)
            if oldest is None or not oldest.state.is_settled or not self._is_expired(oldest):
                return
            self._drop(oldest)

    def _drop(self, record: TaskRecord) -> None:
        del self._all[record.id]
        owned = self._owned[record.owner]
        del owned[record.id]
        if not owned:
            del self._owned[record.owner]


def page_of(records: Iterable[TaskRecord], request: ListTasksRequest) -> Page:
    """Return the page that was asked for, those that changed last first.

    Raises:
        ProtocolError: the page token or the timestamp is none.
    """
    size = request.page_size or DEFAULT_PAGE_SIZE
    start = _cursor(request.page_token) if request.page_token else None
    since = _since(request.status_timestamp_after)
    status = None if request.status is TaskState.UNSPECIFIED else request.status
    page: list[TaskRecord] = []
    total, is_more = 0, False
    for record in sorted(records, key=_place, reverse=True):
        if (
            (request.context_id and record.context_id != request.context_id)
            or (status is not None and record.state is not status)
            or (since is not None and int(record.updated_at * 1000) < since)
        ):
            continue
        total += 1
        if start is not None and _place(record) >= start:
            continue
        if len(page) < size:
            page.append(record)
        else:
            is_more = True
    token = to_token(f"{page[-1].updated_at!r} {page[-1].id}") if is_more else ""
    return Page(page, token, total)


def _place(record: TaskRecord) -> tuple[float, str]:
    return record.updated_at, record.id


def to_token(text: str) -> str:
    """Return where a page begins as a page token."""
    return base64.urlsafe_b64encode(text.encode()).decode()


def from_token(token: str) -> str:
    """Return what `to_token` has made a page token of.

    Raises:
        ProtocolError: the token is none of this server's.
    """
    try:
        return base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise _no_token() from None


def _cursor(token: str) -> tuple[float, str]:
    moment, _, task_id = from_token(token).partition(" ")
    try:
        return float(moment), task_id
    except ValueError:
        raise _no_token() from None


def _no_token() -> ProtocolError:
    return _invalid("pageToken", "not a token of this server")


def _since(text: str | None) -> int | None:
    if not text:
        return None
    try:
        # In milliseconds, which is what the timestamps of tasks are cut to.
        return round(parse_timestamp(text) * 1000)
    except ValueError:
        raise _invalid("statusTimestampAfter", "not a timestamp in ISO 8601") from None


def _invalid(field: str, text: str) -> ProtocolError:
    return ProtocolError(ErrorKind.INVALID_PARAMS, f"{field}: {text}", violations=[(field, text)])
