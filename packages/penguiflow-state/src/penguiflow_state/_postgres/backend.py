"""How the writer commits a group to Postgres: one call of one function, which is one transaction."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from pydantic_core import from_json, to_json

from penguiflow_state import _reads
from penguiflow_state._encoding import spill
from penguiflow_state._errors import StateStoreError, StoreFull, StoreUnavailable
from penguiflow_state._postgres.backoff import Backoff
from penguiflow_state._postgres.schema import migrate
from penguiflow_state._requests import Answer, EventRow, Request

__all__ = ["PostgresBackend", "explain", "is_lost", "rows_of", "set_up"]

logger = logging.getLogger("penguiflow_state")

_NOW = "extract(epoch FROM clock_timestamp())::float8"
_LAST = ("prune_ended", "prune_events")
_RETRIED = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
_CALL = """SELECT write_group_1(%s, %s, %s, %s::jsonb, %s::jsonb, %s::jsonb, %s::jsonb)"""


class PostgresBackend:
    """Owns the one connection that writes.

    Each group has a number, and its answers stand in a row of this writer, written in the same transaction: after a
    connection broke, that row tells whether the group was committed, and waits while that is not decided.
    """

    def __init__(
        self, dsn: str, *, place: str, schema: str, retry_s: float, blob_bytes: int, waits_for_disk: bool
    ) -> None:
        self._dsn = dsn
        self._place = place
        self._schema = schema
        self._retry_s = retry_s
        self._blob_bytes = blob_bytes
        self._waits_for_disk = waits_for_disk
        self._writer = uuid.uuid4().hex
        self._group = 0
        self._db: psycopg.Connection | None = None
        self._is_migrated = False

    def open(self) -> None:
        """Connect and migrate, the first time; a server that is not there then is an error at once."""
        if not self._is_migrated:
            self._connect()
            self._is_migrated = True

    def run(self, events: list[EventRow], requests: list[Request]) -> list[Answer]:
        """Do all of it in one transaction, over a new connection where the old one broke."""
        self._group += 1
        backoff = Backoff(self._retry_s)
        places = sorted(range(len(requests)), key=lambda place: _order(requests[place]))
        values = self._values(events, [requests[place] for place in places])
        may_be_done = False
        while True:
            try:
                db = self._connect()
                text = self._done(db) if may_be_done else None
                if text is None:
                    may_be_done = True
                    row = db.execute(_CALL, values).fetchone()
                    text = str(row[0]) if row else "[]"
                answers = self._resolved(db, from_json(text))
            except _RETRIED as error:
                if not backoff.wait():
                    raise
                logger.debug("%s: again after %s", self._place, error)
            except psycopg.OperationalError as error:
                if not is_lost(error, self._db):
                    raise
                self.close()
                if not backoff.wait():
                    raise
            else:
                placed: list[Answer] = [{}] * len(answers)
                for place, answer in zip(places, answers, strict=True):
                    placed[place] = answer
                return placed

    def idle(self) -> float | None:
        """Do nothing: the server brings to the disk what it did not wait for."""
        return None

    def is_common(self, error: BaseException) -> bool:
        """Whether the server is not reached, or takes no writes at all."""
        return isinstance(error, StateStoreError | psycopg.OperationalError) and not isinstance(
            error, psycopg.errors.DiskFull
        )

    def explain(self, error: BaseException) -> BaseException:
        """Return the error that callers see."""
        return explain(self._place, error)

    def close(self) -> None:
        """Disconnect."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _connect(self) -> psycopg.Connection:
        if self._db is None or self._db.closed:
            db = psycopg.connect(self._dsn, autocommit=True)
            try:
                if not self._is_migrated:
                    migrate(db, self._schema, self._place)
                set_up(db, self._schema)
                setting = "off" if not self._waits_for_disk else "on"
                db.execute(
                    "SELECT set_config('synchronous_commit', %s, false)"
                    " WHERE %s = 'off' OR current_setting('synchronous_commit') = 'off'",
                    (setting, setting),
                )
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _done(self, db: psycopg.Connection) -> str | None:
        """Return the answers of this group where it was committed over a connection that broke."""
        row = db.execute("SELECT number, answers FROM writers WHERE id = %s FOR UPDATE", (self._writer,)).fetchone()
        return str(row[1]) if row is not None and row[0] == self._group else None

    def _values(self, events: list[EventRow], requests: list[Request]) -> tuple[Any, ...]:
        large: dict[str, str] = {}
        uses: set[tuple[str, str]] = set()
        rows = []
        for event in events:
            data = spill(event.data, self._blob_bytes, large)
            if data is not event.data:
                uses.add((event.trace_id, str(data)))
            rows.append((event.trace_id, event.ts, event.kind, data))
        written = []
        for request in requests:
            if request.kind != "sweep_blobs":
                fields = {**request.fields, "request": request.kind, "trace_id": request.trace_id}
                for name in request.texts:
                    fields[name] = spill(request.fields[name], self._blob_bytes, large)
                    if fields[name] is not request.fields[name]:
                        uses.add((request.trace_id, fields[name]))
            else:
                fields = {"request": "nothing"}
            written.append(fields)
        sweeps = any(request.kind == "sweep_blobs" for request in requests)
        documents = (large, sorted(uses), rows, written)
        return (self._writer, self._group, sweeps, *(to_json(document).decode() for document in documents))

    def _resolved(self, db: psycopg.Connection, answers: list[Answer]) -> list[Answer]:
        return _reads.resolved(lambda query, values: rows_of(db, query, values), answers)


def set_up(db: psycopg.Connection, schema: str) -> None:
    """Make a connection see the tables of the store."""
    db.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))


def rows_of(db: psycopg.Connection, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run a query of `_reads`."""
    text = query.replace("{now}", _NOW)
    # Longer names first, so that none is taken for the beginning of another.
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(f":{name}", f"%({name})s")
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(text.encode(), values).fetchall()


def explain(place: str, error: BaseException) -> BaseException:
    """Return the error that callers see."""
    if not isinstance(error, psycopg.Error):
        return error
    said = str(error).strip() or type(error).__name__
    if isinstance(error, psycopg.errors.DiskFull):
        return StoreFull(place, f"{said}; make room on its disk, or prune the store, and try again", error)
    if isinstance(error, psycopg.OperationalError):
        return StoreUnavailable(place, f"{said}; check that the server runs and that the DSN is right", error)
    return StateStoreError(place, said, error)


def is_lost(error: psycopg.OperationalError, db: psycopg.Connection | None) -> bool:
    """Whether the error came of a connection that broke or could not be had, so that another may do."""
    return db is None or db.closed or db.broken or isinstance(error, psycopg.errors.AdminShutdown)


def _order(request: Request) -> tuple[bool, str]:
    """Return what groups are sorted by, so that all of them lock traces in one order."""
    return request.kind in _LAST, request.trace_id
