"""How traces begin, and begin again."""

from __future__ import annotations

import asyncio

import pytest

from penguiflow.errors import TraceActive
from penguiflow.state import JournalStore, StateStore, TraceOutcome, TraceValue
from penguiflow_conformance._adapters import call_off
from penguiflow_conformance._cancelling import at_each_await
from penguiflow_conformance._state.case import LONG_S, OpenStore, StoreCase, a_start, a_step
from penguiflow_conformance._state.events import numbers, save

__all__ = ["OpeningRules"]


class OpeningRules(StoreCase):
    """`open_trace`, `load_trace` and `load_states`."""

    async def test_a_trace_begins_with_its_first_unit_held(self, journal: JournalStore, trace_id: str) -> None:
        lease = await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)

        assert (lease.trace_id, lease.generation, lease.unit, lease.owner) == (trace_id, 1, "", "a"), (
            f"the first run of a trace is generation 1 and begins with the unit of the empty name: {lease}"
        )
        refused = await journal.claim(trace_id, "", owner="b", lease_s=LONG_S)
        assert refused.lease is None, "the owner that opens a trace holds its first unit"
        assert refused.holder == "a", "a refused claim names the holder"

    async def test_a_trace_is_loaded_as_it_began(self, journal: JournalStore, trace_id: str) -> None:
        start = a_start(trace_id, deadline_s=2e9, priority=-3, reply_to="a queue")
        await journal.open_trace(start, owner="a", lease_s=LONG_S)

        record = await journal.load_trace(trace_id)
        assert record is not None, "load_trace returns a trace that has begun"
        assert record.start.message == start.message, "the message of a trace comes back as JSON holds it"
        for name in ("trace_id", "flow", "version", "deadline_s", "priority", "reply_to"):
            assert getattr(record.start, name) == getattr(start, name), f"{name} comes back as it was given"
        graph = {node: list(successors) for node, successors in record.start.graph.items()}
        assert (graph, list(record.start.entries)) == (start.graph, start.entries)
        assert list(record.start.graph) == list(start.graph), "the nodes of the graph keep their order"

    async def test_a_trace_begins_with_a_message_outstanding_for_each_entry(
        self, journal: JournalStore, trace_id: str
    ) -> None:
        await journal.open_trace(a_start(trace_id, entries=["a", "b", "c"]), owner="a", lease_s=LONG_S)

        record = await journal.load_trace(trace_id)
        assert record is not None
        assert record.pending == 3, "as many messages are outstanding when a trace begins as it has entries"
        assert (record.outcome.state, record.steps, record.ended_s) == ("running", 0, None)
        assert [(holder.owner, holder.trace_id) for holder in record.holders] == [("a", trace_id)]

    async def test_an_unknown_trace_is_none(self, journal: JournalStore, trace_id: str) -> None:
        assert await journal.load_trace(trace_id) is None, "load_trace of a trace that never began is None"
        assert await journal.load_steps(trace_id) == []
        assert await journal.load_states([trace_id]) == {}, "load_states leaves out what the store does not know"

    async def test_a_trace_with_events_only_has_not_begun(
        self, store: StateStore, journal: JournalStore, trace_id: str
    ) -> None:
        await save(store, trace_id, 1)

        assert await journal.load_trace(trace_id) is None, "events do not begin a trace"

    async def test_a_running_trace_cannot_be_begun_again(self, journal: JournalStore, trace_id: str) -> None:
        await journal.open_trace(a_start(trace_id), owner="a", lease_s=self.short_lease_s)
        with pytest.raises(TraceActive):
            await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)

    async def test_of_many_that_begin_a_trace_one_succeeds(self, open_store: OpenStore, trace_id: str) -> None:
        handles = [self.able(await open_store(), JournalStore) for _ in range(2)]
        tries = [handles[n % 2].open_trace(a_start(trace_id), owner=f"o{n}", lease_s=LONG_S) for n in range(10)]

        outcomes = await asyncio.gather(*tries, return_exceptions=True)

        opened = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        assert len(opened) == 1, f"of concurrent calls for one id one begins the trace, not {len(opened)}"
        refused = [outcome for outcome in outcomes if isinstance(outcome, TraceActive)]
        assert len(refused) == 9, f"the others get TraceActive: {outcomes}"

    async def test_an_id_whose_trace_ended_begins_anew(
        self, store: StateStore, journal: JournalStore, trace_id: str
    ) -> None:
        first = await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        await save(store, trace_id, 1)
        await journal.record_step(first, a_step("m1", values=[TraceValue("v1", "exit", 1)]))
        await journal.finish_trace(trace_id, TraceOutcome(state="completed"), lease=first)

        second = await journal.open_trace(a_start(trace_id, entries=["left"]), owner="b", lease_s=LONG_S)

        assert second.generation == 2, "an id that is used again gets the next generation"
        record = await journal.load_trace(trace_id)
        assert record is not None
        assert (record.generation, record.pending, record.steps) == (2, 1, 0), "earlier steps are forgotten"
        assert (record.outcome.state, list(record.outcome.values)) == ("running", []), "earlier values are forgotten"
        assert await journal.load_steps(trace_id) == [], "earlier steps are forgotten"
        assert await numbers(store, trace_id) == [1], "events stay when an id is used again"

    async def test_a_step_of_an_earlier_generation_does_not_count(self, journal: JournalStore, trace_id: str) -> None:
        lease = await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        await journal.record_step(lease, a_step("m1"))
        await journal.finish_trace(trace_id, TraceOutcome(state="completed"))
        lease = await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)

        again = await journal.record_step(lease, a_step("m1"))
        assert again.first, "a message id of an earlier generation is free again"

    async def test_states_are_told_with_their_generation(self, journal: JournalStore, trace_id: str) -> None:
        running, failed, unknown = (f"{trace_id}-{number}" for number in range(3))
        for trace in (running, failed):
            await journal.open_trace(a_start(trace), owner="a", lease_s=LONG_S)
        await journal.finish_trace(failed, TraceOutcome(state="failed"))

        states = await journal.load_states([running, failed, unknown])
        assert states == {running: (1, "running"), failed: (1, "failed")}, (
            "load_states gives generation and state of those traces that the store knows"
        )

    async def test_a_trace_outlives_its_handle(self, open_store: OpenStore, trace_id: str) -> None:
        first = await open_store()
        lease = await self.able(first, JournalStore).open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        await self.able(first, JournalStore).record_step(lease, a_step("m1", produced=2))
        await call_off(first)

        again = self.able(await open_store(), JournalStore)
        record = await again.load_trace(trace_id)
        assert record is not None, "what open_trace has returned for is kept"
        assert (record.pending, record.steps) == (3, 1), "what record_step has returned for is kept"
        refused = await again.claim(trace_id, "", owner="b", lease_s=LONG_S)
        assert refused.lease is None, "a lease is kept when its handle is closed"

    async def test_a_cancelled_opening_happened_or_not(self, journal: JournalStore, trace_id: str) -> None:
        async for number, attempt in at_each_await(
            lambda n: journal.open_trace(a_start(f"{trace_id}-{n}"), owner="a", lease_s=LONG_S)
        ):
            record = await journal.load_trace(f"{trace_id}-{number}")
            assert record is not None or attempt.cancelled, "a trace that was opened is kept"
            if record is None:
                await journal.open_trace(a_start(f"{trace_id}-{number}"), owner="a", lease_s=LONG_S)
            claim = await journal.claim(f"{trace_id}-{number}", "", owner="a", lease_s=LONG_S)
            held_again = claim.lease or (claim.holder == "a" and claim)
            assert held_again, f"an opening cancelled at {attempt.where} is done as a whole or not at all: {claim}"
