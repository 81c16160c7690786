"""The store on SQLite against the contract of stores."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from penguiflow.state import EventBatches, JournalStore, Pruning, RemoteBindings, TraceListing
from penguiflow_conformance import StateStoreContract
from penguiflow_state import SqliteStateStore


class TestSqliteStore(StateStoreContract):
    requires: ClassVar[frozenset[type]] = frozenset({EventBatches, JournalStore, Pruning, RemoteBindings, TraceListing})
    events_behind_s = 0.05

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], SqliteStateStore]:
        return lambda: SqliteStateStore(tmp_path / "traces.db")


class TestSqliteStoreWithoutSync(TestSqliteStore):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], SqliteStateStore]:
        return lambda: SqliteStateStore(tmp_path / "traces.db", durability="async", blob_bytes=10)
