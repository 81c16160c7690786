"""How the tables of a file come to be those of this version, and which files are refused."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from penguiflow_state import SchemaMismatch, SqliteStateStore
from penguiflow_state._sqlite_schema import MIGRATIONS, migrate

OpenStore = Callable[..., SqliteStateStore]


async def test_a_newer_file_is_refused_and_left_as_it_is(open_store: OpenStore, tmp_path: Path) -> None:
    await open_store().open()
    with closing(sqlite3.connect(tmp_path / "traces.db")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(SchemaMismatch, match="of version 99, and this penguiflow-state knows up to 1; upgrade"):
        await open_store().open()

    with closing(sqlite3.connect(tmp_path / "traces.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)


async def test_the_file_of_another_program_is_refused(open_store: OpenStore, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "traces.db")) as db:
        db.execute("CREATE TABLE users (id INTEGER)")
    with pytest.raises(SchemaMismatch, match="holds another database"):
        await open_store().open()

    with pytest.raises(SchemaMismatch):
        await open_store().save_remote_binding("t", "c", "t", "u")


async def test_something_that_is_no_database_is_refused(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "traces.db").write_text("not a database, but long enough to look at " * 50)
    with pytest.raises(SchemaMismatch, match="file is not a database; name a file of its own"):
        await open_store().open()


async def test_an_older_file_is_brought_up_to_date_with_what_is_in_it(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    await store.save_event("t", 1.0, "emit", {})
    await store.close()
    later = [*MIGRATIONS, "ALTER TABLE events ADD COLUMN extra TEXT DEFAULT 'none'; CREATE TABLE more (id INTEGER)"]

    with closing(sqlite3.connect(tmp_path / "traces.db", isolation_level=None)) as db:
        migrate(db, "traces.db", later)
        migrate(db, "traces.db", later)
        assert db.execute("SELECT trace_id, extra FROM events").fetchall() == [("t", "none")]
        assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_migration_that_fails_leaves_the_version_before(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "traces.db", isolation_level=None)) as db:
        migrate(db, "traces.db")
        with pytest.raises(sqlite3.OperationalError):
            migrate(db, "traces.db", [*MIGRATIONS, "CREATE TABLE more (id INTEGER); SELECT nonsense"])

        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'more'").fetchone() == (0,)


async def test_many_may_open_a_new_file_at_once(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.save_event("t", 1.0, "emit", {}) for store in stores))
    await asyncio.gather(*(store.load_history("t") for store in stores))

    assert len(await stores[0].load_history("t")) == 8


async def test_commits_wait_for_the_disk(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    await store.open()
    backend = store._writer._backend
    db = getattr(backend, "_db")  # noqa: B009
    modes = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert modes == ["wal", 2]
