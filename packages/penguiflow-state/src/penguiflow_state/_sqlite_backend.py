"""How the writer commits a group to SQLite."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penguiflow_state import _reads
from penguiflow_state._encoding import spill
from penguiflow_state._errors import SchemaMismatch, StateStoreError, StoreFull, StoreUnavailable
from penguiflow_state._requests import Answer, EventRow, Request
from penguiflow_state._sqlite_schema import migrate
from penguiflow_state._sqlite_writes import WRITES

__all__ = ["SqliteBackend", "connect", "explain", "rows_of"]

_WAL_S = 10.0
"""How long to insist on the write-ahead log while other processes open the same file."""
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_FULL = frozenset({sqlite3.SQLITE_FULL})
_UNREACHED = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM}
)
_COLUMNS = 5
_ROWS_AT_ONCE = (512, 64, 8, 1)
_INSERT_EVENTS = {
    rows: f"INSERT INTO events (trace_id, ts, kind, data, saved_s) VALUES {', '.join(['(?, ?, ?, ?, ?)'] * rows)}"
    for rows in _ROWS_AT_ONCE
}


class SqliteBackend:
    """Owns the one connection that writes.

    With `sync_every_s` a commit does not wait for the disk; the first one after so many seconds, or an empty one that
    `idle` makes, does, and takes all before it along.
    """

    def __init__(self, path: str, *, busy_timeout_s: float, blob_bytes: int, sync_every_s: float | None) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._blob_bytes = blob_bytes
        self._sync_every_s = sync_every_s
        self._db: sqlite3.Connection | None = None
        self._unsynced_since_s: float | None = None
        self._syncs = True

    def open(self) -> None:
        """Connect, set up the write-ahead log, and migrate."""
        if self._db is not None:
            return
        db = connect(self._path, self._busy_timeout_s)
        try:
            _use_wal(db)
            db.execute("PRAGMA synchronous = FULL")
            migrate(db, self._path)
        except BaseException:
            db.close()
            raise
        self._db = db
        self._syncs = True

    def run(self, events: list[EventRow], requests: list[Request]) -> list[Answer]:
        """Do all of it in one transaction."""
        db = self._connection
        self._choose_sync(db)
        db.execute("BEGIN IMMEDIATE")
        try:
            if events:
                self._insert_events(db, events)
            answers = [self._do(db, request) for request in requests]
            answers = _reads.resolved(lambda sql, values: rows_of(db, sql, values), answers)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        return answers

    def idle(self) -> float | None:
        """Bring unsynced commits to the disk when they are due."""
        if self._unsynced_since_s is None or self._sync_every_s is None or self._db is None:
            return None
        left_s = self._unsynced_since_s + self._sync_every_s - time.monotonic()
        if left_s > 0:
            return left_s
        self._choose_sync(self._db)
        self._db.execute("UPDATE sync_marks SET mark = mark + 1 WHERE id = 0")
        return None

    def is_common(self, error: BaseException) -> bool:
        """Whether the file is locked, or cannot be used at all."""
        return _code(error) in _BUSY | _UNREACHED or isinstance(error, StateStoreError)

    def explain(self, error: BaseException) -> BaseException:
        """Return the error that callers see."""
        return explain(self._path, error)

    def close(self) -> None:
        """Disconnect; the last one to do so tidies the write-ahead log away."""
        if self._db is not None:
            try:
                if self._unsynced_since_s is not None:
                    self._unsynced_since_s = 0.0
                    self.idle()
            finally:
                self._db.close()
                self._db = None

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreUnavailable(self._path, "the file is not open")
        return self._db

    def _choose_sync(self, db: sqlite3.Connection) -> None:
        if self._sync_every_s is None:
            return
        now = time.monotonic()
        since_s = self._unsynced_since_s
        syncs = since_s is not None and now - since_s >= self._sync_every_s
        if syncs != self._syncs:
            db.execute(f"PRAGMA synchronous = {'FULL' if syncs else 'NORMAL'}")
            self._syncs = syncs
        if syncs:
            self._unsynced_since_s = None
        elif since_s is None:
            self._unsynced_since_s = now

    def _insert_events(self, db: sqlite3.Connection, events: list[EventRow]) -> None:
        """Insert many with each statement, so that the interpreter lock is given up once and not for each row."""
        now, large, uses = time.time(), dict[str, str](), set[tuple[str, str]]()
        values: list[str | float | None] = []
        for trace_id, ts, kind, data in events:
            short = spill(data, self._blob_bytes, large)
            if short is not data:
                uses.add((trace_id, str(short)))
            values += (trace_id, ts, kind, short, now)
        self._keep(db, large, uses)
        begin = 0
        most = db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // _COLUMNS
        for rows in _ROWS_AT_ONCE if most >= _ROWS_AT_ONCE[0] else _ROWS_AT_ONCE[1:]:
            while len(values) - begin >= rows * _COLUMNS:
                db.execute(_INSERT_EVENTS[rows], values[begin : begin + rows * _COLUMNS])
                begin += rows * _COLUMNS

    def _do(self, db: sqlite3.Connection, request: Request) -> Answer:
        """Do a write, with references in place of large texts, which are kept apart."""
        large: dict[str, str] = {}
        shortened = {name: spill(request.fields[name], self._blob_bytes, large) for name in request.texts}
        if large:
            request = replace(request, fields={**request.fields, **shortened})
        answer = WRITES[request.kind](db, request)
        if large and "refused" not in answer:
            self._keep(db, large, {(request.trace_id, digest) for digest in large})
        return answer

    def _keep(self, db: sqlite3.Connection, large: Mapping[str, str], uses: set[tuple[str, str]]) -> None:
        for digest, text in large.items():
            db.execute("INSERT INTO blobs VALUES (?, ?) ON CONFLICT DO NOTHING", (digest, text))
        for use in uses:
            db.execute("INSERT INTO blob_uses VALUES (?, ?) ON CONFLICT DO NOTHING", use)


def connect(path: str, busy_timeout_s: float) -> sqlite3.Connection:
    """Return a connection without transactions of its own making."""
    return sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)


def rows_of(db: sqlite3.Connection, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run a query of `_reads`."""
    # SQLite's own clock is the machine's, too, but gives milliseconds only.
    cursor = db.execute(sql.replace("{now}", ":now"), {**values, "now": time.time()})
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def explain(path: str, error: BaseException) -> BaseException:
    """Return the error that callers see."""
    if not isinstance(error, sqlite3.Error):
        return error
    code = _code(error)
    if code in _FULL:
        return StoreFull(path, f"{error}; make room on its disk, or prune the store, and try again", error)
    if code in _BUSY:
        return StoreUnavailable(path, f"another process holds it too long ({error}); raise busy_timeout_s", error)
    if code in _UNREACHED:
        return StoreUnavailable(path, f"{error}; check the folder, its permissions and its disk", error)
    if code == sqlite3.SQLITE_NOTADB:
        return SchemaMismatch(path, "the file is not a database; name a file of its own for the store", error)
    return StateStoreError(path, str(error), error)


def _code(error: BaseException) -> int | None:
    """Return the primary result code; the higher bits say more than is needed here."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, which fails at once while another connection is just doing so."""
    deadline = time.monotonic() + _WAL_S
    while True:
        try:
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if _code(error) not in _BUSY or time.monotonic() > deadline:
                raise
        else:
            if mode == "wal":
                return
            if time.monotonic() > deadline:
                raise StoreUnavailable("SQLite", f"the write-ahead log is not to be had (journal mode {mode!r})")
        time.sleep(0.02)
