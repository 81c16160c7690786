"""Which traces there are, and everything that happens, in one row."""

from __future__ import annotations

import asyncio
from typing import Any

from penguiflow.state import JournalStore, StateStore, TraceListing, TraceOutcome, TraceState, TraceValue
from penguiflow_conformance._state.case import LONG_S, OpenStore, StoreCase, a_start, a_step
from penguiflow_conformance._state.events import save
from penguiflow_conformance._waiting import until

__all__ = ["ListingRules"]


class ListingRules(StoreCase):
    """`TraceListing`."""

    async def begin(self, store: StateStore, flow: str, *traces: str) -> None:
        """Begin traces of a flow."""
        journal = self.able(store, JournalStore)
        for trace in traces:
            await journal.open_trace(a_start(trace, flow=flow), owner="a", lease_s=LONG_S)

    async def listed(self, store: StateStore, **filters: Any) -> list[str]:
        """Return the ids of the traces listed."""
        return [record.start.trace_id for record in await self.able(store, TraceListing).list_traces(**filters)]

    async def test_the_latest_trace_comes_first(self, store: StateStore, trace_id: str) -> None:
        traces = [f"{trace_id}-{number}" for number in (2, 3, 1)]
        await self.begin(store, trace_id, *traces)

        assert await self.listed(store, flow=trace_id) == traces[::-1], "traces are listed from the latest on"
        assert await self.listed(store, flow=f"{trace_id} other") == [], "a listing of one flow has no other's traces"

    async def test_a_listed_trace_is_as_it_is_loaded(self, store: StateStore, trace_id: str) -> None:
        listing, journal = self.able(store, TraceListing), self.able(store, JournalStore)
        lease = await journal.open_trace(a_start(trace_id, flow=trace_id), owner="a", lease_s=LONG_S)
        await journal.record_step(lease, a_step("m1", values=[TraceValue("v", "exit", 1)]))
        await journal.finish_trace(trace_id, TraceOutcome(state="failed", error={"code": "X"}))

        (record,) = await listing.list_traces(flow=trace_id)
        assert record.start.flow == trace_id
        assert (record.generation, record.outcome.state, record.steps, record.pending) == (1, "failed", 1, 1)
        assert record.outcome.error == {"code": "X"}, "a listed trace tells why it failed"
        assert record.ended_s is not None, "a listed trace tells when it ended"

    async def test_traces_are_listed_by_state(self, store: StateStore, trace_id: str) -> None:
        states: list[TraceState] = ["running", "completed", "failed", "cancelled"]
        await self.begin(store, trace_id, *(f"{trace_id}-{state}" for state in states))
        for state in states[1:]:
            await self.able(store, JournalStore).finish_trace(f"{trace_id}-{state}", TraceOutcome(state=state))

        for state in states:
            found = await self.listed(store, flow=trace_id, state=state)
            assert found == [f"{trace_id}-{state}"], f"a listing of {state} traces has those only"

    async def test_a_trace_with_events_only_is_not_listed(self, store: StateStore, trace_id: str) -> None:
        await save(store, trace_id, 1)
        assert trace_id not in await self.listed(store, limit=1000), "a trace that only has events is not listed"

    async def test_pages_follow_one_another(self, store: StateStore, trace_id: str) -> None:
        traces = [f"{trace_id}-{number}" for number in range(7)]
        await self.begin(store, trace_id, *traces)

        pages: list[list[str]] = []
        after = None
        while page := await self.listed(store, flow=trace_id, limit=3, after=after):
            pages.append(page)
            after = page[-1]

        assert [len(page) for page in pages] == [3, 3, 1], "a page holds `limit` traces, until none are left"
        assert [trace for page in pages for trace in page] == traces[::-1], "pages leave nothing out and repeat nothing"

    async def test_age_bounds_a_listing(self, store: StateStore, trace_id: str) -> None:
        await self.begin(store, trace_id, trace_id)

        assert await self.listed(store, flow=trace_id, newer_than_s=LONG_S) == [trace_id], (
            f"a trace that began less than {LONG_S} s ago is newer than that"
        )
        assert await self.listed(store, flow=trace_id, older_than_s=LONG_S) == [], "and not older"

        async def older() -> list[str]:
            return await self.listed(store, flow=trace_id, older_than_s=0.001)

        await until(older, patience_s=self.patience_s, rule="a trace gets older by the clock of the store")

    async def test_events_of_all_traces_are_followed_from_now_on(self, store: StateStore, trace_id: str) -> None:
        listing = self.able(store, TraceListing)
        await save(store, trace_id, 1)
        events, here = await listing.load_events(after=-1)
        assert events == [], "after -1 come none but the events to come"
        await save(store, f"{trace_id}-a", 2)
        await save(store, f"{trace_id}-b", 3)

        events, there = await listing.load_events(after=here)
        assert [event["data"]["number"] for event in events] == [2, 3], "events come in the order of their saving"
        assert [event["trace_id"] for event in events] == [f"{trace_id}-a", f"{trace_id}-b"]
        assert await listing.load_events(after=there) == ([], there), "where nothing is new, one goes on from there"

    async def test_events_are_followed_in_pages(self, store: StateStore, trace_id: str) -> None:
        listing = self.able(store, TraceListing)
        _, cursor = await listing.load_events(after=-1)
        await save(store, trace_id, *range(7))

        found: list[int] = []
        while True:
            events, cursor = await listing.load_events(after=cursor, limit=3)
            if not events:
                break
            assert len(events) <= 3, "load_events returns `limit` events at most"
            found.extend(event["data"]["number"] for event in events)
        assert found == list(range(7)), "pages of events leave nothing out and repeat nothing"

    async def test_from_the_beginning_all_events_come(self, store: StateStore, trace_id: str) -> None:
        listing = self.able(store, TraceListing)
        await save(store, trace_id, 1, 2)

        found: list[int] = []
        events, cursor = await listing.load_events(after=0)
        while events:
            found.extend(event["data"]["number"] for event in events if event["trace_id"] == trace_id)
            events, cursor = await listing.load_events(after=cursor)
        assert found == [1, 2], "after 0 come all events the store has"

    async def test_a_follower_misses_nothing_of_concurrent_writers(self, open_store: OpenStore, trace_id: str) -> None:
        handles = [await open_store() for _ in range(2)]
        listing = self.able(await open_store(), TraceListing)
        _, cursor = await listing.load_events(after=-1)
        writers = [asyncio.create_task(save(handles[n % 2], f"{trace_id}-{n}", *range(20))) for n in range(10)]
        found: list[tuple[str, int]] = []

        async def all_seen() -> bool:
            nonlocal cursor
            events, cursor = await listing.load_events(after=cursor, limit=7)
            found.extend((event["trace_id"], event["data"]["number"]) for event in events)
            return not events and len(found) >= 200

        rule = f"a follower gets every event, also those of writers that overtake one another: {len(found)} of 200"
        await until(all_seen, patience_s=self.patience_s, rule=rule)
        await asyncio.gather(*writers)
        assert len(set(found)) == len(found) == 200, "a follower gets each event once"
