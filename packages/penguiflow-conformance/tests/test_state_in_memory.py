"""The store in memory keeps the contract, its optional parts included."""

import pytest

from penguiflow.state import (
    EventBatches,
    InMemoryStateStore,
    JournalStore,
    Pruning,
    RemoteBindings,
    StateStore,
    TraceListing,
)
from penguiflow_conformance import StateStoreContract
from penguiflow_conformance._adapters import Make


class TestInMemoryStateStore(StateStoreContract):
    requires = frozenset({EventBatches, JournalStore, Pruning, RemoteBindings, TraceListing})

    @pytest.fixture
    def make_store(self) -> Make[StateStore]:
        store = InMemoryStateStore()
        return lambda: store
