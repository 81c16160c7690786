"""The store on Postgres against the contract of stores."""

from collections.abc import Callable
from typing import ClassVar

import pytest
from servers import PostgresServer

from penguiflow.state import EventBatches, JournalStore, Pruning, RemoteBindings, TraceListing
from penguiflow_conformance import StateStoreContract
from penguiflow_state.postgres import PostgresStateStore


class TestPostgresStore(StateStoreContract):
    requires: ClassVar[frozenset[type]] = frozenset({EventBatches, JournalStore, Pruning, RemoteBindings, TraceListing})
    events_behind_s = 0.05

    @pytest.fixture
    def make_store(self, postgres_server: PostgresServer) -> Callable[[], PostgresStateStore]:
        return lambda: PostgresStateStore(postgres_server.dsn, schema="contract")


class TestPostgresStoreWithoutSync(TestPostgresStore):
    @pytest.fixture
    def make_store(self, postgres_server: PostgresServer) -> Callable[[], PostgresStateStore]:
        return lambda: PostgresStateStore(postgres_server.dsn, schema="contract", durability="async", blob_bytes=10)
