"""The history and outcomes of flows on SQLite, and on Postgres by an extra."""

from penguiflow_state._errors import (
    EventsLost,
    SchemaMismatch,
    StateStoreError,
    StoreClosed,
    StoreFull,
    StoreUnavailable,
)
from penguiflow_state._urls import open_url
from penguiflow_state.sqlite import SqliteStateStore

__all__ = [
    "EventsLost",
    "SchemaMismatch",
    "SqliteStateStore",
    "StateStoreError",
    "StoreClosed",
    "StoreFull",
    "StoreUnavailable",
    "open_url",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
