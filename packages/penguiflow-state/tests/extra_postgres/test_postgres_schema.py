"""How the tables of a schema come to be those of this version, what is kept apart, and how commits are made."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from servers import PostgresServer

from penguiflow import FlowDefinitionError
from penguiflow.state import Step, TraceOutcome, TraceStart
from penguiflow_state import SchemaMismatch, open_url
from penguiflow_state._postgres.schema import migrate, scripts
from penguiflow_state.postgres import PostgresStateStore

StartOf = Callable[..., TraceStart]
OpenPostgres = Callable[..., PostgresStateStore]


async def test_newer_tables_are_refused(postgres_server: PostgresServer, open_postgres: OpenPostgres) -> None:
    await open_postgres(postgres_server.dsn, schema="newer").open()
    with psycopg.connect(postgres_server.dsn) as db:
        db.execute("UPDATE newer.schema_version SET version = 99")
    with pytest.raises(SchemaMismatch, match="of version 99, and this penguiflow-state knows up to 1; upgrade"):
        await open_postgres(postgres_server.dsn, schema="newer").open()


async def test_older_tables_are_brought_up_to_date_with_what_is_in_them(
    postgres_server: PostgresServer, open_postgres: OpenPostgres
) -> None:
    store = open_postgres(postgres_server.dsn, schema="older")
    await store.save_event("t", 1.0, "emit", {})
    await store.close()
    later = [*scripts(), "ALTER TABLE events ADD COLUMN extra text DEFAULT 'none'; CREATE TABLE more (id int)"]

    with psycopg.connect(postgres_server.dsn, autocommit=True) as db:
        migrate(db, "older", "here", later)
        migrate(db, "older", "here", later)
        assert db.execute("SELECT trace_id, extra FROM older.events").fetchall() == [("t", "none")]
        assert db.execute("SELECT version FROM older.schema_version").fetchall() == [(2,)]


async def test_many_may_make_the_tables_at_once(postgres_server: PostgresServer, open_postgres: OpenPostgres) -> None:
    stores = [open_postgres(postgres_server.dsn) for _ in range(6)]
    await asyncio.gather(*(store.open() for store in stores))

    assert await stores[0].list_traces() == []


@pytest.mark.parametrize(("durability", "waits"), [("group", "on"), ("async", "off")])
async def test_commits_wait_for_the_disk_unless_told_otherwise(
    postgres_server: PostgresServer, open_postgres: OpenPostgres, durability: str, waits: str
) -> None:
    store = open_postgres(postgres_server.dsn, durability=durability)
    await store.open()
    backend: Any = store._writer._backend

    assert backend._db.execute("SHOW synchronous_commit").fetchone() == (waits,)
    assert postgres_server.dsn not in repr(store)


async def test_a_large_payload_is_kept_once_and_goes_with_its_last_trace(
    postgres_server: PostgresServer, open_postgres: OpenPostgres, start_of: StartOf
) -> None:
    store, large = open_postgres(postgres_server.dsn, schema="large"), {"text": "x" * 50_000}
    for trace_id in ("t1", "t2"):
        lease = await store.open_trace(start_of(trace_id), owner="o", lease_s=60)
        await store.record_step(lease, Step(message_id="m", node_name="a", outputs=large))
        await store.save_event(trace_id, 1.0, "emit", large)
    counts = []
    with psycopg.connect(postgres_server.dsn, autocommit=True) as db:
        for trace_id in ("t1", "t2"):
            assert (await store.load_steps("t2"))[0].outputs == large
            counts.append(db.execute("SELECT count(*) FROM large.blobs").fetchone())
            await store.finish_trace(trace_id, TraceOutcome(state="completed"))
            assert await store.prune(older_than_s=0) == 1
        counts.append(db.execute("SELECT count(*) FROM large.blobs").fetchone())
        left = db.execute("SELECT count(*) FROM large.blob_uses").fetchone()

    assert counts == [(1,), (1,), (0,)]
    assert left == (0,)


async def test_a_url_names_a_database(postgres_server: PostgresServer) -> None:
    store = open_url(postgres_server.dsn)
    assert isinstance(store, PostgresStateStore)
    await store.close()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dsn": "nonsense="}, "dsn is not usable"),
        ({"durability": "never"}, "durability='never'"),
        ({"schema": ""}, "schema=''"),
        ({"retry_s": -1}, "retry_s=-1"),
        ({"blob_bytes": 0}, "blob_bytes=0"),
    ],
)
def test_an_argument_that_is_not_usable_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(FlowDefinitionError, match=named):
        PostgresStateStore(**{"dsn": "postgresql://localhost/x", **options})
