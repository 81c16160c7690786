"""A store in one SQLite file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from penguiflow import FlowDefinitionError
from penguiflow.state import StoredEvent
from penguiflow_state import _reads
from penguiflow_state._sqlite_backend import SqliteBackend, connect, explain, rows_of
from penguiflow_state._store import DatabaseStore, Durability

__all__ = ["SqliteStateStore"]

_Value = TypeVar("_Value")


class SqliteStateStore(DatabaseStore):
    """Keeps traces in a SQLite file, which survives the process, and with `durability="group"` the machine.

    One thread writes: what callers await at the same time is committed with one sync of the disk. Reads run beside it.
    Several processes of one machine may share the file, on a local disk; leases go by that machine's clock. The file
    comes into being with the first call, or with `async with store`.

    `durability`: see `Durability`; with "async" a commit waits for no sync, one follows within `sync_every_s`, and only
    a crash of the machine loses what came since, never one of the process. JSON texts larger than `blob_bytes` are kept
    apart, once for each content. A write waits up to `busy_timeout_s` for another process that is writing.

    Raises:
        FlowDefinitionError: an argument is not usable.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "group",
        sync_every_s: float = 0.1,
        blob_bytes: int = 16_384,
        busy_timeout_s: float = 30.0,
    ) -> None:
        _check(path, durability, sync_every_s, blob_bytes, busy_timeout_s)
        self._path = str(Path(path).absolute())
        self._busy_timeout_s = busy_timeout_s
        self.loss_bound_s = 0.05 + (sync_every_s + 0.05 if durability == "async" else 0.0)
        backend = SqliteBackend(
            self._path,
            busy_timeout_s=busy_timeout_s,
            blob_bytes=blob_bytes,
            sync_every_s=sync_every_s if durability == "async" else None,
        )
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        super().__init__(backend, self._path)

    loss_bound_s: float
    """How long before a crash, in seconds, what was written last may be lost; with "group" of plain events only."""

    def _with_rows(self, read: Callable[[_reads.Rows], _Value]) -> _Value:
        try:
            db = self._reader()
            db.execute("BEGIN")
            try:
                return read(lambda sql, values: rows_of(db, sql, values))
            finally:
                db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise explain(self._path, error) from error

    def _reader(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = connect(self._path, self._busy_timeout_s)
            db.execute("PRAGMA query_only = 1")
            self._local.db = db
            self._connections.append(db)
        return db

    def _events_after(self, rows: _reads.Rows, after: int, limit: int) -> tuple[list[StoredEvent], int]:
        if after < 0:
            (row,) = rows("SELECT coalesce(max(id), 0) AS last FROM events", {})
            return [], row["last"]
        sql = "SELECT id, trace_id, ts, kind, data FROM events WHERE id > :after ORDER BY id LIMIT :limit"
        found = rows(sql, {"after": after, "limit": limit})
        return _reads.events(rows, found), found[-1]["id"] if found else after

    def _close_readers(self) -> None:
        for db in self._connections:
            db.close()
        self._connections.clear()


def _check(
    path: str | os.PathLike[str], durability: str, sync_every_s: float, blob_bytes: int, busy_timeout_s: float
) -> None:
    if str(path) in ("", ":memory:"):
        raise FlowDefinitionError(f"path={str(path)!r} is not usable: name a file; InMemoryStateStore needs none")
    if durability not in ("group", "async"):
        raise FlowDefinitionError(f"durability={durability!r} is not usable: it must be 'group' or 'async'")
    for name, value in (("sync_every_s", sync_every_s), ("busy_timeout_s", busy_timeout_s)):
        if not value > 0:
            raise FlowDefinitionError(f"{name}={value!r} is not usable: it must be a positive number of seconds")
    if blob_bytes < 1:
        raise FlowDefinitionError(f"blob_bytes={blob_bytes!r} is not usable: it must be at least 1 byte")
