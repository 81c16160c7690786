"""What the tests of a StateStore share."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from penguiflow.state import Claim, JournalStore, Lease, StateStore, Step, TraceStart
from penguiflow_conformance._adapters import Contract, Make, closing_all, made

__all__ = ["LONG_S", "OpenStore", "StoreCase", "a_start", "a_step", "held", "opened"]

LONG_S = 3600.0
"""A lease that does not lapse within a test, in seconds."""

OpenStore = Callable[[], Awaitable[StateStore]]
"""Opens another handle on the same data, as another process would."""


class StoreCase(Contract):
    """Opens the stores of a test, and closes them after it."""

    short_lease_s: ClassVar[float] = 0.05
    """The lease of those tests that wait for one to lapse, in seconds; no test depends on how exact it is."""

    events_behind_s: ClassVar[float] = 0.0
    """How long after `save_event` returned a crash may still lose the event, and other handles may not see it, in
    seconds. What a handle has read back itself is safe in any case."""

    @pytest.fixture
    def make_store(self) -> Make[StateStore]:
        """Return what makes the store; each call makes another handle on the same data."""
        self.not_given("make_store", "lambda: MyStateStore(...)")

    @pytest_asyncio.fixture
    async def open_store(self, make_store: Make[StateStore]) -> AsyncIterator[OpenStore]:
        """Return what opens a handle; all are closed after the test."""
        async with closing_all() as opened:

            async def open_one() -> StateStore:
                store = await made(make_store)
                opened.append(store)
                return store

            yield open_one

    @pytest_asyncio.fixture
    async def store(self, open_store: OpenStore) -> StateStore:
        """Return one handle."""
        return await open_store()

    @pytest_asyncio.fixture
    async def journal(self, store: StateStore) -> JournalStore:
        """Return the handle as a JournalStore."""
        return self.able(store, JournalStore)

    @pytest.fixture
    def trace_id(self) -> str:
        """Return an id that no other test uses, since tests may share a database."""
        return f"contract-{uuid.uuid4()}"


def a_start(trace_id: str, **changes: Any) -> TraceStart:
    """Return a start with two entries, so that two messages are outstanding."""
    values: dict[str, Any] = {
        "flow": f"flow of {trace_id}",
        "version": "7",
        "graph": {"left": ["join"], "right": ["join"], "join": []},
        "message": {"payload": {"question": "why?"}},
        "entries": ["left", "right"],
    }
    return TraceStart(trace_id=trace_id, **(values | changes))


def a_step(message_id: str, **changes: Any) -> Step:
    """Return a step that handled a message and sent nothing on."""
    values: dict[str, Any] = {"node_name": "left", "outputs": {"sent": message_id}}
    return Step(message_id=message_id, **(values | changes))


async def opened(journal: JournalStore, trace_id: str, *, outstanding: int = 2, lease_s: float = LONG_S) -> Lease:
    """Open a trace for owner a, with that many messages outstanding."""
    return await journal.open_trace(a_start(trace_id, entries=["left"] * outstanding), owner="a", lease_s=lease_s)


def held(claim: Claim, rule: str) -> Lease:
    """Return the lease of a claim that has to be granted."""
    assert claim.lease is not None, f"{rule}; the claim was refused: {claim}"
    return claim.lease
