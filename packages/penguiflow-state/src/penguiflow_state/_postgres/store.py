"""The store: its calls, its reads over a pool, and what it is made with."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TypeVar

import psycopg

from penguiflow import FlowDefinitionError
from penguiflow.state import StoredEvent
from penguiflow_state import _reads
from penguiflow_state._postgres.backend import PostgresBackend, explain, is_lost, rows_of, set_up
from penguiflow_state._postgres.backoff import Backoff
from penguiflow_state._requests import Request
from penguiflow_state._store import DatabaseStore, Durability

__all__ = ["PostgresStateStore"]

_Value = TypeVar("_Value")
_ID_BITS = 64
_EVENTS_BEHIND_S = 0.05
_UNSYNCED_S = 0.6
"""Three times the default of `wal_writer_delay`, which is what Postgres promises of commits that wait for no disk."""


class PostgresStateStore(DatabaseStore):
    """Keeps traces in a Postgres database (13 or later), for processes on any number of machines.

    One connection writes: what callers of this process await at the same time is one call of one function on the
    server, and one transaction. Reads run beside it, over up to 4 connections of their own. Leases go by the clock of
    the server. The tables lie in `schema`, and come into being with the first call, or with `async with store`.

    A connection that breaks is replaced, for up to `retry_s` seconds in each call; a group whose answer was lost on
    the way is not written twice. `durability`: see `Durability`; with "async" commits do not wait for the server's
    disk, and a crash of the server loses up to three times its `wal_writer_delay` (600 ms by default), plain events
    50 ms more. JSON texts larger than `blob_bytes` are kept apart, once for each content.

    The connection must keep its session: behind a pooler, use one in session mode.

    Raises:
        FlowDefinitionError: an argument is not usable.
        ImportError: the extra is not installed.
    """

    def __init__(
        self,
        dsn: str,
        *,
        durability: Durability = "group",
        schema: str = "penguiflow",
        retry_s: float = 30.0,
        blob_bytes: int = 16_384,
    ) -> None:
        place = _check(dsn, durability, schema, retry_s, blob_bytes)
        self.loss_bound_s = _EVENTS_BEHIND_S + (_UNSYNCED_S if durability == "async" else 0.0)
        self._schema = schema
        self._retry_s = retry_s
        backend = PostgresBackend(
            dsn,
            place=place,
            schema=schema,
            retry_s=retry_s,
            blob_bytes=blob_bytes,
            waits_for_disk=durability == "group",
        )
        self._dsn = dsn
        self._local = threading.local()
        self._connections: list[psycopg.Connection] = []
        super().__init__(backend, place)

    loss_bound_s: float
    """How long before a crash, in seconds, what was written last may be lost; with "group" of plain events only. With
    "async" it holds for a server whose `wal_writer_delay` is the usual 200 ms."""

    async def prune(self, *, older_than_s: float) -> int:
        """Forget what is old, a few traces in each transaction; see `Pruning`. Cancelled, some of it is forgotten."""
        forgotten = await super().prune(older_than_s=older_than_s)
        await self._writer.write(Request("sweep_blobs", ""))
        return forgotten

    def _with_rows(self, read: Callable[[_reads.Rows], _Value]) -> _Value:
        backoff = Backoff(self._retry_s)
        while True:
            db = None
            try:
                db = self._reader()
                with db.transaction():
                    return read(functools.partial(rows_of, db))
            except psycopg.OperationalError as error:
                if not is_lost(error, db) or not backoff.wait():
                    raise explain(self._name, error) from error
            except psycopg.Error as error:
                raise explain(self._name, error) from error

    def _reader(self) -> psycopg.Connection:
        """Return the connection of this thread, a new one where the old one broke."""
        db: psycopg.Connection | None = getattr(self._local, "db", None)
        if db is None or db.closed:
            if db is not None:
                self._connections.remove(db)
            self._local.db = None
            db = psycopg.connect(self._dsn, autocommit=True)
            set_up(db, self._schema)
            # All queries of a read see the same state.
            db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            db.read_only = True
            self._connections.append(db)
            self._local.db = db
        return db

    def _events_after(self, rows: _reads.Rows, after: int, limit: int) -> tuple[list[StoredEvent], int]:
        """Read on in the order of transactions, up to the oldest that still runs.

        Ids alone would not do: a transaction with lower ones may commit after one with higher ones was read.
        """
        if after < 0:
            (row,) = rows("SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xid", {})
            return [], int(row["xid"]) << _ID_BITS
        xid, last_id = after >> _ID_BITS, after & ((1 << _ID_BITS) - 1)
        found = rows(
            "SELECT xid, id, trace_id, ts, kind, data FROM events"
            " WHERE (xid, id) > (CAST(:xid AS xid8), :last_id) AND xid < pg_snapshot_xmin(pg_current_snapshot())"
            " ORDER BY xid, id LIMIT :limit",
            {"xid": str(xid), "last_id": last_id, "limit": limit},
        )
        if found:
            after = int(found[-1]["xid"]) << _ID_BITS | found[-1]["id"]
        return _reads.events(rows, found), after

    def _close_readers(self) -> None:
        for db in self._connections:
            db.close()
        self._connections.clear()


def _check(dsn: str, durability: str, schema: str, retry_s: float, blob_bytes: int) -> str:
    """Return how errors name the database: without its password."""
    if durability not in ("group", "async"):
        raise FlowDefinitionError(f"durability={durability!r} is not usable: it must be 'group' or 'async'")
    if not schema:
        raise FlowDefinitionError("schema='' is not usable: it must be the name of a schema")
    if retry_s < 0:
        raise FlowDefinitionError(f"retry_s={retry_s!r} is not usable: it must be 0 or more seconds")
    if blob_bytes < 1:
        raise FlowDefinitionError(f"blob_bytes={blob_bytes!r} is not usable: it must be at least 1 byte")
    try:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise FlowDefinitionError("dsn is not usable: it must be a libpq connection string or URL") from error
    host, port, database = (parts.get(name) or "" for name in ("host", "port", "dbname"))
    return f"Postgres {host or 'localhost'}:{port or 5432}/{database}"
