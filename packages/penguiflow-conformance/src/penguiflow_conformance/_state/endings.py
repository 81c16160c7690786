"""How traces end: once, and for everyone in the same way."""

from __future__ import annotations

import asyncio

from penguiflow.state import JournalStore, TraceOutcome, TraceState, TraceValue
from penguiflow_conformance._adapters import call_off
from penguiflow_conformance._cancelling import at_each_await
from penguiflow_conformance._state.case import LONG_S, OpenStore, StoreCase, a_start, a_step

__all__ = ["EndingRules"]

ERROR = {"code": "NODE_EXCEPTION", "message": "it broke", "trace_id": "t", "node_name": "left", "exception": None}


class EndingRules(StoreCase):
    """`finish_trace`, and what is known of a trace afterwards."""

    async def test_an_outcome_is_kept_with_the_values_of_the_trace(self, journal: JournalStore, trace_id: str) -> None:
        lease = await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        values = [TraceValue("v1", "exit", {"a": 1}), TraceValue("v2", "exit", None)]
        for number, value in enumerate(values):
            await journal.record_step(lease, a_step(f"m{number}", values=[value]))

        outcome = await journal.finish_trace(trace_id, TraceOutcome(state="failed", error=ERROR), lease=lease)

        assert outcome is not None, "finish_trace returns the outcome"
        assert (outcome.state, outcome.error, list(outcome.values)) == ("failed", ERROR, values), (
            "the outcome of a trace has its state, its error and, filled in by the store, its values"
        )
        record = await journal.load_trace(trace_id)
        assert record is not None
        assert (record.outcome.state, record.outcome.error, list(record.outcome.values)) == ("failed", ERROR, values)
        assert record.ended_s is not None, "a trace that ended says when"
        assert record.ended_s >= record.opened_s

    async def test_the_first_outcome_stands(self, journal: JournalStore, trace_id: str) -> None:
        lease = await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        await journal.finish_trace(trace_id, TraceOutcome(state="cancelled"))

        for late in (None, lease):
            outcome = await journal.finish_trace(trace_id, TraceOutcome(state="completed"), lease=late)
            assert outcome is not None, "a trace that ended before has an outcome to return"
            assert outcome.state == "cancelled", "the first outcome of a trace stands, and later calls are told it"

    async def test_of_many_that_end_a_trace_all_are_told_the_same(self, open_store: OpenStore, trace_id: str) -> None:
        handles = [self.able(await open_store(), JournalStore) for _ in range(2)]
        await handles[0].open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        states: list[TraceState] = ["completed", "failed", "cancelled"]

        outcomes = await asyncio.gather(
            *(handles[n % 2].finish_trace(trace_id, TraceOutcome(state=states[n % 3])) for n in range(12))
        )

        told = {outcome.state if outcome else None for outcome in outcomes}
        assert len(told) == 1, f"whoever ends a trace is told the outcome that stands, not {told}"

    async def test_an_unknown_trace_cannot_be_ended(self, journal: JournalStore, trace_id: str) -> None:
        outcome = await journal.finish_trace(trace_id, TraceOutcome(state="cancelled"))
        assert outcome is None, "finish_trace of a trace that is not known is None"
        assert await journal.load_trace(trace_id) is None, "ending an unknown trace does not begin it"

    async def test_another_generation_cannot_be_ended(self, journal: JournalStore, trace_id: str) -> None:
        await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        outcome = await journal.finish_trace(trace_id, TraceOutcome(state="cancelled"), generation=2)

        assert outcome is None, "finish_trace of another generation is None"
        assert await journal.load_states([trace_id]) == {trace_id: (1, "running")}, "and ends nothing"
        ended = await journal.finish_trace(trace_id, TraceOutcome(state="cancelled"), generation=1)
        assert ended is not None, "the latest generation can be ended by its number"

    async def test_an_outcome_outlives_its_handle(self, open_store: OpenStore, trace_id: str) -> None:
        first = await open_store()
        journal = self.able(first, JournalStore)
        await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        await journal.finish_trace(trace_id, TraceOutcome(state="failed", error=ERROR))
        await call_off(first)

        record = await self.able(await open_store(), JournalStore).load_trace(trace_id)
        assert record is not None
        assert (record.outcome.state, record.outcome.error) == ("failed", ERROR), (
            "an outcome that finish_trace has returned for is kept"
        )

    async def test_a_cancelled_ending_may_be_repeated(self, journal: JournalStore, trace_id: str) -> None:
        traces = [f"{trace_id}-{number}" for number in range(50)]
        for trace in traces:
            await journal.open_trace(a_start(trace), owner="a", lease_s=LONG_S)
        async for number, attempt in at_each_await(
            lambda n: journal.finish_trace(traces[n % 50], TraceOutcome(state="failed"))
        ):
            again = await journal.finish_trace(traces[number % 50], TraceOutcome(state="completed"))
            assert again is not None, "a cancelled finish_trace leaves the trace known"
            expected = ("failed", "completed") if attempt.cancelled else ("failed",)
            assert again.state in expected, f"a finish_trace cancelled at {attempt.where} took effect or not"
