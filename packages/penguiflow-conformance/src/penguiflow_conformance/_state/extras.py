"""Batches of events, remote bindings, and what is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from penguiflow.state import (
    EventBatches,
    JournalStore,
    Pruning,
    RemoteBindings,
    StateStore,
    StoredEvent,
    TraceOutcome,
)
from penguiflow_conformance._adapters import call_off
from penguiflow_conformance._cancelling import at_each_await
from penguiflow_conformance._state.case import LONG_S, OpenStore, StoreCase, a_start, a_step
from penguiflow_conformance._state.events import numbers, save
from penguiflow_conformance._waiting import until

__all__ = ["BatchRules", "BindingRules", "PruningRules"]


def event(trace_id: str, number: Any) -> StoredEvent:
    """Return an event that bears a number."""
    return StoredEvent(trace_id=trace_id, ts=1.0, kind="emit", data={"number": number})


class BatchRules(StoreCase):
    """`EventBatches`: events saved together."""

    async def test_a_batch_keeps_its_order_beside_single_events(self, store: StateStore, trace_id: str) -> None:
        batches = self.able(store, EventBatches)
        await save(store, trace_id, 0)
        await batches.save_events([event(trace_id, number) for number in range(1, 20)])
        await save(store, trace_id, 20)

        assert await numbers(store, trace_id) == list(range(21)), "a batch appends its events in their order"

    async def test_a_batch_holds_events_of_several_traces(self, store: StateStore, trace_id: str) -> None:
        batches = self.able(store, EventBatches)
        traces = [f"{trace_id}-{number}" for number in range(3)]
        await batches.save_events([event(trace, number) for number in range(5) for trace in traces])

        for trace in traces:
            assert await numbers(store, trace) == list(range(5)), "each trace gets its events of a batch, in order"

    async def test_an_empty_batch_is_nothing(self, store: StateStore, trace_id: str) -> None:
        await self.able(store, EventBatches).save_events([])

        assert await numbers(store, trace_id) == []

    async def test_a_batch_with_a_bad_event_leaves_nothing_behind(self, store: StateStore, trace_id: str) -> None:
        batches = self.able(store, EventBatches)
        with pytest.raises((TypeError, ValueError)):
            await batches.save_events([event(trace_id, 1), event(trace_id, object()), event(trace_id, 2)])

        assert await numbers(store, trace_id) == [], "a batch is saved all or none"

    async def test_a_cancelled_batch_is_there_once_or_not_at_all(self, store: StateStore, trace_id: str) -> None:
        batches = self.able(store, EventBatches)

        async def save_batch(number: int) -> None:
            await batches.save_events([event(f"{trace_id}-{number}", part) for part in range(5)])

        async for number, attempt in at_each_await(save_batch):
            found = await numbers(store, f"{trace_id}-{number}")
            allowed = [[], [0, 1, 2, 3, 4]] if attempt.cancelled else [[0, 1, 2, 3, 4]]
            assert found in allowed, f"a batch is saved all or none, also when cancelled at {attempt.where}: {found}"


class BindingRules(StoreCase):
    """`save_remote_binding`, and `RemoteBindings` to get them back."""

    async def test_bindings_come_back_in_the_order_in_which_they_were_saved(
        self, store: StateStore, trace_id: str
    ) -> None:
        bindings = self.able(store, RemoteBindings)
        saved = [("c1", "t2", "https://b"), ("", "t1", "https://a"), ("c1", "t1", "https://b")]
        for binding in saved:
            await store.save_remote_binding(trace_id, *binding)

        found = [(b["context_id"], b["task_id"], b["agent_url"]) for b in await bindings.load_remote_bindings(trace_id)]
        assert found == saved, "bindings come back in the order in which they were saved"

    async def test_a_binding_saved_again_changes_nothing(self, store: StateStore, trace_id: str) -> None:
        bindings = self.able(store, RemoteBindings)
        for task_id in ("t1", "t2", "t1"):
            await store.save_remote_binding(trace_id, "c", task_id, "https://a")

        found = [binding["task_id"] for binding in await bindings.load_remote_bindings(trace_id)]
        assert found == ["t1", "t2"], "the same binding is kept once, in its first place"

    async def test_traces_have_bindings_of_their_own(self, store: StateStore, trace_id: str) -> None:
        bindings = self.able(store, RemoteBindings)
        await store.save_remote_binding(trace_id, "c", "t", "https://a")

        assert await bindings.load_remote_bindings(f"{trace_id}-other") == [], (
            "a trace without bindings has an empty list"
        )

    async def test_a_binding_outlives_its_handle(self, open_store: OpenStore, trace_id: str) -> None:
        first = await open_store()
        self.able(first, RemoteBindings)
        await first.save_remote_binding(trace_id, "c", "t", "https://a")
        await call_off(first)

        again = self.able(await open_store(), RemoteBindings)
        found = [binding["task_id"] for binding in await again.load_remote_bindings(trace_id)]
        assert found == ["t"], "what save_remote_binding has returned for is kept"

    async def test_saving_a_binding_is_no_event(self, store: StateStore, trace_id: str) -> None:
        await store.save_remote_binding(trace_id, "c", "t", "https://a")

        assert await store.load_history(trace_id) == [], "a binding does not show in the history"

    async def test_a_cancelled_binding_is_there_once_or_not_at_all(self, store: StateStore, trace_id: str) -> None:
        bindings = self.able(store, RemoteBindings)

        async for number, attempt in at_each_await(
            lambda n: store.save_remote_binding(trace_id, "c", f"t{n}", "https://a")
        ):
            found = [binding["task_id"] for binding in await bindings.load_remote_bindings(trace_id)]
            assert len(set(found)) == len(found), f"a binding is kept once: {found}"
            assert attempt.cancelled or f"t{number}" in found, "a binding that was saved is kept"


class PruningRules(StoreCase):
    """`Pruning`: what is old is forgotten, here whatever has ended, so nobody else may need the data meanwhile."""

    async def test_what_is_younger_stays(self, store: StateStore, trace_id: str) -> None:
        pruning = self.able(store, Pruning)
        await save(store, trace_id, 1)
        await pruning.prune(older_than_s=LONG_S)

        assert await numbers(store, trace_id) == [1], f"a trace written to within {LONG_S} s is not forgotten"

    async def test_events_of_a_trace_that_never_began_are_forgotten(self, store: StateStore, trace_id: str) -> None:
        pruning = self.able(store, Pruning)
        await save(store, trace_id, 1)
        await store.save_remote_binding(trace_id, "c", "t", "https://a")

        async def gone() -> bool:
            await pruning.prune(older_than_s=0.0)
            return not await store.load_history(trace_id)

        await until(gone, patience_s=self.patience_s, rule="a trace that was never begun goes by its last event")
        if isinstance(store, RemoteBindings):
            assert await store.load_remote_bindings(trace_id) == [], "what is forgotten is gone with its bindings"

    async def test_an_ended_trace_is_forgotten_with_all_it_had(self, store: StateStore, trace_id: str) -> None:
        pruning, journal = self.able(store, Pruning), self.able(store, JournalStore)
        lease = await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        await journal.record_step(lease, a_step("m1"))
        await save(store, trace_id, 1)
        await journal.finish_trace(trace_id, TraceOutcome(state="completed"))

        forgotten = 0

        async def gone() -> bool:
            nonlocal forgotten
            forgotten += await pruning.prune(older_than_s=0.0)
            return await journal.load_trace(trace_id) is None

        await until(gone, patience_s=self.patience_s, rule="a trace that ended is forgotten once it is old enough")
        assert forgotten >= 1, f"prune returns how many traces it forgot, not {forgotten}"
        left = (await journal.load_trace(trace_id), await journal.load_steps(trace_id), await numbers(store, trace_id))
        assert left == (None, [], []), "what is forgotten is gone with its events and steps"

    async def test_a_running_trace_is_never_forgotten(self, store: StateStore, trace_id: str) -> None:
        pruning, journal = self.able(store, Pruning), self.able(store, JournalStore)
        await journal.open_trace(a_start(trace_id), owner="a", lease_s=self.short_lease_s)
        await save(store, trace_id, 1)
        await save(store, f"{trace_id}-old", 1)

        async def old_is_gone() -> bool:
            await pruning.prune(older_than_s=0.0)
            return not await store.load_history(f"{trace_id}-old")

        await until(old_is_gone, patience_s=self.patience_s, rule="a trace that was never begun goes by its last event")
        record = await journal.load_trace(trace_id)
        assert record is not None, "a trace that is running is never forgotten"
        assert await numbers(store, trace_id) == [1], "a trace that is running keeps its events"
