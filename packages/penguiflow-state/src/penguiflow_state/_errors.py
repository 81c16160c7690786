"""What can go wrong with a store, as one hierarchy.

::

    FlowError (penguiflow)
    └── StateStoreError           the store could not do what it was asked to (STORE_FAILED)
        ├── StoreClosed           it was closed, or its process was forked (STORE_CLOSED)
        ├── StoreUnavailable      the database is not reached, or is locked by others too long (STORE_UNAVAILABLE)
        ├── StoreFull             the disk, or the database, is full (STORE_FULL)
        ├── EventsLost            events that were taken could not be written (EVENTS_LOST)
        └── SchemaMismatch        the database was made by something else or something newer (SCHEMA_MISMATCH)
"""

from __future__ import annotations

from penguiflow import FlowError, FlowErrorCode

__all__ = [
    "EventsLost",
    "SchemaMismatch",
    "StateStoreError",
    "StoreClosed",
    "StoreFull",
    "StoreUnavailable",
]


class StateStoreError(FlowError):
    """The store could not do what it was asked to; nothing of that call was written."""

    CODE = str(FlowErrorCode.STORE_FAILED)

    def __init__(self, store: str, problem: str, cause: BaseException | None = None) -> None:
        super().__init__(None, None, self.CODE, f"{store}: {problem}", cause)
        self.store = store
        self.problem = problem

    def __reduce__(self) -> tuple[type[StateStoreError], tuple[str, str]]:
        return type(self), (self.store, self.problem)


class StoreClosed(StateStoreError):
    """The store takes nothing any more."""

    CODE = "STORE_CLOSED"


class StoreUnavailable(StateStoreError):
    """The database cannot be reached or written to for now; the call may be repeated."""

    CODE = "STORE_UNAVAILABLE"


class StoreFull(StateStoreError):
    """There is no room; the call may be repeated once there is."""

    CODE = "STORE_FULL"


class EventsLost(StateStoreError):
    """Events of a trace were taken, and then could not be written; raised once for each trace."""

    CODE = "EVENTS_LOST"


class SchemaMismatch(StateStoreError):
    """The tables are not those of this version."""

    CODE = "SCHEMA_MISMATCH"
