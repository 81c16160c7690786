"""The tables and functions of a store on Postgres, and how they come to be those of this version."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.resources import files

import psycopg
from psycopg import sql

from penguiflow_state._errors import SchemaMismatch

__all__ = ["VERSION", "migrate", "scripts"]

VERSION = 1
_LOCK = 0x50464C57
"""The advisory lock under which one process at a time brings tables up to date."""


@functools.cache
def scripts() -> tuple[str, ...]:
    """Return what brings tables from the version of its index to the next."""
    package = files("penguiflow_state._postgres")
    versions = range(1, VERSION + 1)
    return tuple(package.joinpath(f"version_{version}.sql").read_text(encoding="utf-8") for version in versions)


def migrate(connection: psycopg.Connection, schema: str, place: str, migrations: Sequence[str] | None = None) -> None:
    """Bring the tables in a schema up to date, in one transaction.

    Raises:
        SchemaMismatch: they were made by a newer version.
    """
    wanted = scripts() if migrations is None else migrations
    if _version(connection, schema) == len(wanted):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        version = _version(connection, schema)
        if version > len(wanted):
            raise SchemaMismatch(
                place,
                f"its tables are of version {version}, and this penguiflow-state knows up to {len(wanted)}; "
                f"upgrade penguiflow-state, or name another schema",
            )
        name = sql.Identifier(schema)
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
        connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(name))
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version int NOT NULL)")
        for script in wanted[version:]:
            connection.execute(script.encode())
        connection.execute("DELETE FROM schema_version")
        connection.execute("INSERT INTO schema_version VALUES (%s)", (len(wanted),))


def _version(connection: psycopg.Connection, schema: str) -> int:
    # Not by to_regclass: what that has found missing it remembers, while another process makes it.
    query = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'schema_version'"
    if connection.execute(query, (schema,)).fetchone() is None:
        return 0
    name = sql.Identifier(schema, "schema_version")
    row = connection.execute(sql.SQL("SELECT version FROM {}").format(name)).fetchone()
    return 0 if row is None else int(row[0])
