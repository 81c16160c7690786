"""What invocations came to: written once, counted once."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from penguiflow.state import JournalStore, Step, StepState, TraceOutcome, TraceValue
from penguiflow.types import Json
from penguiflow_conformance._adapters import call_off
from penguiflow_conformance._cancelling import at_each_await
from penguiflow_conformance._state.case import LONG_S, OpenStore, StoreCase, a_start, a_step, held, opened
from penguiflow_conformance._values import JSON_VALUES

__all__ = ["StepRules"]


def ids(steps: list[Step]) -> list[str]:
    """Return the message ids of steps."""
    return [step.message_id for step in steps]


class StepRules(StoreCase):
    """`mark_started`, `record_step`, `load_steps` and `reopen`."""

    async def test_a_step_is_loaded_as_it_was_recorded(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id)
        step = a_step("m1", produced=2, values=[TraceValue("v1", "exit", {"a": [1]})], consumed=["m7"])

        state = await journal.record_step(lease, step)

        (loaded,) = await journal.load_steps(trace_id)
        for found in (state.step, loaded):
            assert (found.message_id, found.node_name, found.produced) == ("m1", "left", 2)
            assert (found.outputs, list(found.values), list(found.consumed)) == (
                {"sent": "m1"},
                [TraceValue("v1", "exit", {"a": [1]})],
                ["m7"],
            ), f"a step comes back as it was recorded: {found}"

    @pytest.mark.parametrize("value", JSON_VALUES.values(), ids=JSON_VALUES)
    async def test_outputs_come_back_as_json_holds_them(
        self, journal: JournalStore, trace_id: str, value: Json
    ) -> None:
        lease = await opened(journal, trace_id)
        await journal.record_step(lease, a_step("m1", outputs=value, values=[TraceValue("v1", "exit", value)]))

        (loaded,) = await journal.load_steps(trace_id)
        assert (loaded.outputs, loaded.values[0].value) == (value, value), "outputs and values come back as they were"
        assert type(loaded.outputs) is type(value)

    async def test_steps_count_what_is_outstanding(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id)

        pending = [
            (await journal.record_step(lease, a_step("m1", produced=3))).pending,
            (await journal.record_step(lease, a_step("m2", consumed=["m3"]))).pending,
            (await journal.record_step(lease, a_step("m4"))).pending,
        ]
        assert pending == [4, 2, 1], (
            "outstanding is what a trace began with, plus what each step produced, less the message that it handled "
            "and those that it consumed"
        )
        record = await journal.load_trace(trace_id)
        assert record is not None
        assert (record.pending, record.steps) == (1, 3), "load_trace counts as record_step does"

    async def test_of_two_records_of_a_message_the_first_counts(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id)
        first = await journal.record_step(lease, a_step("m1", outputs="first", produced=1))

        second = await journal.record_step(lease, a_step("m1", outputs="second", produced=5))

        assert (first.first, second.first) == (True, False), "only the call that wrote a step is told that it was first"
        assert second.step.outputs == "first", "a step that was recorded before is returned as it was written"
        assert second.pending == first.pending == 2, "a step is counted once"
        assert [step.outputs for step in await journal.load_steps(trace_id)] == ["first"], "a step is written once"

    async def test_of_many_that_record_a_step_one_writes_it(self, open_store: OpenStore, trace_id: str) -> None:
        handles = [self.able(await open_store(), JournalStore) for _ in range(2)]
        lease = await opened(handles[0], trace_id)

        states: list[StepState] = await asyncio.gather(
            *(handles[n % 2].record_step(lease, a_step("m1", outputs=n, produced=4)) for n in range(10))
        )

        assert [state.first for state in states].count(True) == 1, "of concurrent records of a message one is first"
        assert len({state.step.outputs for state in states}) == 1, "all are told what was written"
        record = await handles[1].load_trace(trace_id)
        assert record is not None
        assert record.pending == 5, f"a step is counted once: 2 + 4 - 1 are outstanding, not {record.pending}"

    async def test_concurrent_steps_all_count(self, open_store: OpenStore, trace_id: str) -> None:
        handles = [self.able(await open_store(), JournalStore) for _ in range(2)]
        lease = await opened(handles[0], trace_id)
        units = [held(await handles[0].claim(trace_id, f"m{n}", owner="a", lease_s=LONG_S), "free") for n in range(20)]

        states: list[StepState] = await asyncio.gather(
            *(handles[n % 2].record_step(unit, a_step(f"m{n}", produced=2)) for n, unit in enumerate(units))
        )

        assert sorted(state.pending for state in states) == list(range(3, 23)), "each step sees those counted before it"
        last = await handles[0].record_step(lease, a_step("last", consumed=[f"c{n}" for n in range(21)]))
        assert last.pending == 0, "no step is lost among concurrent ones"

    async def test_exactly_one_step_sees_the_last_message_taken(self, journal: JournalStore, trace_id: str) -> None:
        lease = await journal.open_trace(a_start(trace_id, entries=["n"] * 10), owner="a", lease_s=LONG_S)

        states = await asyncio.gather(*(journal.record_step(lease, a_step(f"m{n}")) for n in range(10)))

        assert [state.pending for state in states].count(0) == 1, "one step ends a trace: pending reaches 0 once"

    async def test_steps_come_back_in_the_order_in_which_they_were_written(
        self, journal: JournalStore, trace_id: str
    ) -> None:
        lease = await opened(journal, trace_id)
        for number in (3, 1, 2):
            await journal.record_step(lease, a_step(f"m{number}", produced=1))

        assert ids(await journal.load_steps(trace_id)) == ["m3", "m1", "m2"]

    async def test_a_value_is_kept_once_and_in_order(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id)
        values = [TraceValue(f"v{n}", "exit", n) for n in (2, 0, 1)]
        await journal.record_step(lease, a_step("m1", values=values[:2]))
        await journal.record_step(lease, a_step("m2", values=[TraceValue("v0", "exit", "again"), values[2]]))
        await journal.record_step(lease, a_step("m1", values=[TraceValue("v9", "exit", "not written")]))

        record = await journal.load_trace(trace_id)
        assert record is not None
        assert list(record.outcome.values) == values, "the values of a trace are kept once each, in their order"

    async def test_marking_a_start_tells_whether_it_was_marked_before(
        self, journal: JournalStore, trace_id: str
    ) -> None:
        lease = await opened(journal, trace_id)
        marked = [await journal.mark_started(lease, message_id, "left") for message_id in ("m1", "m2")]
        again = held(await journal.claim(trace_id, "", owner="b", lease_s=LONG_S, force=True), "force")

        assert marked == [None, None], "the first mark of a message finds none before it"
        assert await journal.mark_started(again, "m1", "left") == lease.epoch, (
            "a mark tells the epoch of the one before"
        )

    async def test_a_reopened_message_is_outstanding_once(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id)

        pending = [await journal.reopen(lease, message_id) for message_id in ("x", "x", "y", "x")]
        assert pending == [3, 3, 4, 4], "a message is made outstanding once for each id"

    async def test_steps_and_marks_outlive_their_handle(self, open_store: OpenStore, trace_id: str) -> None:
        first = await open_store()
        lease = await opened(self.able(first, JournalStore), trace_id)
        await self.able(first, JournalStore).mark_started(lease, "m2", "left")
        for number in range(3):
            await self.able(first, JournalStore).record_step(lease, a_step(f"m{number + 3}", produced=1))
        await call_off(first)

        again = self.able(await open_store(), JournalStore)
        assert ids(await again.load_steps(trace_id)) == ["m3", "m4", "m5"], "a recorded step is kept"
        assert await again.mark_started(lease, "m2", "left") == lease.epoch, "a mark is kept"
        assert (await again.record_step(lease, a_step("m3"))).first is False, "a recorded step is known after a restart"

    async def test_a_cancelled_record_may_be_repeated(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id)
        expected = itertools.count(3)
        async for number, attempt in at_each_await(
            lambda n: journal.record_step(lease, a_step(f"m{n}", produced=2, values=[TraceValue(f"v{n}", "exit", n)]))
        ):
            again = await journal.record_step(lease, a_step(f"m{number}", produced=2))
            assert again.first is False or attempt.cancelled, "a step that was recorded is kept"
            assert again.pending == next(expected), (
                f"a record cancelled at {attempt.where} counts once, repeated or not"
            )

    async def test_a_step_that_json_cannot_hold_writes_nothing(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id)
        with pytest.raises((TypeError, ValueError)):
            await journal.record_step(lease, a_step("m1", outputs=object(), produced=1))

        record = await journal.load_trace(trace_id)
        assert record is not None
        assert (record.pending, record.steps) == (2, 0), "a step is written as a whole or not at all"
        outcome = await journal.finish_trace(trace_id, TraceOutcome(state="failed"))
        assert outcome is not None
        assert list(outcome.values) == []
