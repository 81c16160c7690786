"""The tables of a store on SQLite, and how they come to be those of this version."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from penguiflow_state._errors import SchemaMismatch

__all__ = ["MIGRATIONS", "migrate"]

APPLICATION_ID = 0x50464C57
"""What marks a file as ours: "PFLW"."""

MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        trace_id TEXT NOT NULL,
        ts REAL NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL,
        saved_s REAL NOT NULL
    );
    CREATE INDEX events_of_trace ON events (trace_id);
    CREATE TABLE bindings (
        id INTEGER PRIMARY KEY,
        trace_id TEXT NOT NULL,
        context_id TEXT NOT NULL,
        task_id TEXT NOT NULL,
        agent_url TEXT NOT NULL,
        saved_s REAL NOT NULL,
        UNIQUE (trace_id, context_id, task_id, agent_url)
    );
    CREATE TABLE traces (
        key INTEGER PRIMARY KEY,
        trace_id TEXT NOT NULL UNIQUE,
        generation INTEGER NOT NULL,
        opening INTEGER NOT NULL UNIQUE,
        flow TEXT NOT NULL,
        version TEXT NOT NULL,
        start TEXT NOT NULL,
        state TEXT NOT NULL,
        error TEXT,
        pending INTEGER NOT NULL,
        steps INTEGER NOT NULL DEFAULT 0,
        opened_s REAL NOT NULL,
        ended_s REAL
    );
    CREATE INDEX running_traces ON traces (flow, opening) WHERE state = 'running';
    CREATE INDEX ended_traces ON traces (ended_s) WHERE ended_s IS NOT NULL;
    CREATE TABLE units (
        trace INTEGER NOT NULL,
        unit TEXT NOT NULL,
        owner TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        expires_s REAL NOT NULL,
        released INTEGER NOT NULL DEFAULT 0,
        done INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (trace, unit)
    ) WITHOUT ROWID;
    CREATE TABLE started (
        trace INTEGER NOT NULL,
        message_id TEXT NOT NULL,
        node_name TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        PRIMARY KEY (trace, message_id)
    ) WITHOUT ROWID;
    CREATE TABLE steps (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        trace INTEGER NOT NULL,
        message_id TEXT NOT NULL,
        node_name TEXT NOT NULL,
        outputs TEXT NOT NULL,
        produced INTEGER NOT NULL,
        consumed TEXT,
        vals TEXT,
        UNIQUE (trace, message_id)
    );
    CREATE INDEX steps_with_values ON steps (trace, id) WHERE vals IS NOT NULL;
    CREATE TABLE joins (
        trace INTEGER NOT NULL,
        name TEXT NOT NULL,
        turn INTEGER NOT NULL,
        need INTEGER NOT NULL,
        have INTEGER NOT NULL DEFAULT 0,
        fired INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (trace, name, turn)
    ) WITHOUT ROWID;
    CREATE TABLE join_parts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        trace INTEGER NOT NULL,
        name TEXT NOT NULL,
        turn INTEGER NOT NULL,
        message_id TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('part', 'flush', 'late')),
        fired INTEGER NOT NULL,
        need INTEGER NOT NULL,
        value TEXT,
        UNIQUE (trace, name, turn, message_id)
    );
    CREATE TABLE reopened (
        trace INTEGER NOT NULL,
        message_id TEXT NOT NULL,
        PRIMARY KEY (trace, message_id)
    ) WITHOUT ROWID;
    CREATE TABLE blobs (
        digest TEXT PRIMARY KEY,
        text TEXT NOT NULL
    );
    CREATE TABLE blob_uses (
        trace_id TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (trace_id, digest)
    ) WITHOUT ROWID;
    CREATE INDEX uses_of_blob ON blob_uses (digest);
    CREATE TABLE sync_marks (id INTEGER PRIMARY KEY, mark INTEGER NOT NULL);
    INSERT INTO sync_marks VALUES (0, 0);
    """,
)
"""Each brings a file from the version of its index to the next; one that was released is never changed."""


def migrate(connection: sqlite3.Connection, place: str, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the tables up to date, in one transaction.

    Raises:
        SchemaMismatch: the file was made by a newer version, or by something else.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == len(migrations) and _is_ours(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        _refuse_others(connection, place, version, len(migrations))
        for script in migrations[version:]:
            for statement in script.split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _is_ours(connection: sqlite3.Connection) -> bool:
    found: int = connection.execute("PRAGMA application_id").fetchone()[0]
    return found == APPLICATION_ID


def _refuse_others(connection: sqlite3.Connection, place: str, version: int, newest: int) -> None:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and not _is_ours(connection):
        raise SchemaMismatch(place, "the file holds another database; name a file of its own for the store")
    if version > newest:
        raise SchemaMismatch(
            place,
            f"its tables are of version {version}, and this penguiflow-state knows up to {newest}; "
            f"upgrade penguiflow-state, or name another file",
        )
