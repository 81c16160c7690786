"""Joins across processes: each fires once, with the parts it needs."""

from __future__ import annotations

import asyncio
from typing import Any

from penguiflow.state import JoinPart, JoinState, JournalStore, UnfilledJoin
from penguiflow_conformance._adapters import call_off
from penguiflow_conformance._cancelling import at_each_await
from penguiflow_conformance._state.case import LONG_S, OpenStore, StoreCase, a_step, held, opened

__all__ = ["JoinRules"]


def part(message_id: str, **changes: Any) -> JoinPart:
    """Return a part of a join that needs three."""
    values: dict[str, Any] = {"join": "join", "turn": 0, "need": 3, "value": {"from": message_id}}
    return JoinPart(message_id=message_id, **(values | changes))


def fired(state: JoinState) -> list[str] | None:
    """Return the ids of the parts that a join fired with."""
    return None if state.parts is None else [_value(given)["from"] for given in state.parts]


def _value(given: Any) -> Any:
    return given.value if isinstance(given, JoinPart) else given


class JoinRules(StoreCase):
    """`add_join_part` and `unfilled_joins`."""

    async def test_the_part_that_fills_a_join_fires_it(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id, outstanding=10)
        states = [await journal.add_join_part(lease, part(message_id)) for message_id in ("m2", "m1", "m3")]

        assert [fired(state) for state in states] == [None, None, ["m2", "m1", "m3"]], (
            "the part that makes a join full fires it, with its parts in order of arrival"
        )
        assert [state.late for state in states] == [False] * 3, "a part is late only when the join had fired before it"

    async def test_a_part_that_does_not_fire_is_outstanding_no_more(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id, outstanding=10)
        pending = [(await journal.add_join_part(lease, part(f"m{number}"))).pending for number in range(5)]

        assert pending == [9, 8, 8, 7, 6], "a part is taken, but the one that fires stays outstanding until its step"
        step = await journal.record_step(lease, a_step("m2", node_name="join", produced=1))
        assert step.pending == 6, "the step of the part that fired takes it"

    async def test_later_parts_are_late(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id, outstanding=10)
        for number in range(3):
            await journal.add_join_part(lease, part(f"m{number}"))

        late = await journal.add_join_part(lease, part("m3"))
        assert (fired(late), late.late) == (None, True), "a join fires once: what comes after is late"

    async def test_the_same_part_again_gets_the_same_answer(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id, outstanding=10)
        names = ["m0", "m1", "m2", "m3"]
        first = [await journal.add_join_part(lease, part(name)) for name in names]

        again = [await journal.add_join_part(lease, part(name)) for name in names]

        assert [(fired(state), state.late) for state in again] == [(fired(state), state.late) for state in first], (
            "a part that comes again gets the answer it got before, the one that fired its parts"
        )
        assert {state.pending for state in again} == {first[-1].pending}, "a part is counted once"

    async def test_a_part_that_comes_twice_counts_once(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id, outstanding=10)
        states = [await journal.add_join_part(lease, part(name)) for name in ("m0", "m0", "m0", "m1", "m1", "m2")]

        assert [fired(state) for state in states] == [None] * 5 + [["m0", "m1", "m2"]], (
            "a join counts the ids of its parts, not how often they come"
        )

    async def test_turns_and_joins_are_apart(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id, outstanding=10)
        for name, changes in (("a", {}), ("b", {"turn": 1}), ("c", {"join": "other"}), ("d", {"turn": 1})):
            state = await journal.add_join_part(lease, part(name, need=3, **changes))
            assert fired(state) is None, "each join, and each turn of it, has parts of its own"

        state = await journal.add_join_part(lease, part("e", turn=1))
        assert fired(state) == ["b", "d", "e"], "a join fires with the parts of its turn"

    async def test_traces_have_joins_of_their_own(self, journal: JournalStore, trace_id: str) -> None:
        leases = [await opened(journal, f"{trace_id}-{number}", outstanding=10) for number in range(3)]
        states = [await journal.add_join_part(lease, part(f"m{n}")) for n, lease in enumerate(leases)]

        assert [fired(state) for state in states] == [None] * 3, "a join gets parts of one trace only"

    async def test_of_many_parts_at_once_one_fires_the_join(self, open_store: OpenStore, trace_id: str) -> None:
        handles = [self.able(await open_store(), JournalStore) for _ in range(2)]
        await opened(handles[0], trace_id, outstanding=20)
        units = [held(await handles[0].claim(trace_id, f"m{n}", owner="a", lease_s=LONG_S), "free") for n in range(20)]

        states: list[JoinState] = await asyncio.gather(
            *(handles[n % 2].add_join_part(unit, part(f"m{n}", need=8)) for n, unit in enumerate(units))
        )

        firing = [names for state in states if (names := fired(state)) is not None]
        assert len(firing) == 1, f"a join fires once, not {len(firing)} times"
        assert len(set(firing[0])) == len(firing[0]) == 8, "a join fires with as many parts as it needs, each once"
        assert [state.late for state in states].count(True) == 12, "what came after is late"
        record = await handles[1].load_trace(trace_id)
        assert record is not None
        assert record.pending == 1, "all parts but the one that fired are taken"

    async def test_a_flush_fires_with_what_there_is(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id, outstanding=3)
        for name in ("m0", "m1"):
            await journal.add_join_part(lease, part(name))
        await journal.reopen(lease, "flush")

        flushed = await journal.add_join_part(lease, part("flush", value=None, flush=True))

        assert (fired(flushed), flushed.late) == (["m0", "m1"], False), "a flush fires a join and is no part itself"
        assert flushed.pending == 2, "the flush stays outstanding until its step"
        again = await journal.add_join_part(lease, part("flush", value=None, flush=True))
        assert fired(again) == ["m0", "m1"], "the same flush again gets the same answer"
        late = await journal.add_join_part(lease, part("m2"))
        assert (fired(late), late.late) == (None, True), "a part after the flush is late"

    async def test_a_flush_of_a_join_that_fired_is_late(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id, outstanding=10)
        for number in range(3):
            await journal.add_join_part(lease, part(f"m{number}"))

        flushed = await journal.add_join_part(lease, part("flush", flush=True))
        assert (fired(flushed), flushed.late) == (None, True), "a join fires once, flushed or filled"

    async def test_unfilled_joins_are_told_by_turn_and_name(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id, outstanding=10)
        for name, join, turn in (("m0", "z", 0), ("m1", "b", 1), ("m2", "a", 1), ("m3", "a", 1), ("m4", "z", 0)):
            await journal.add_join_part(lease, part(name, join=join, turn=turn, need=4))
        await journal.add_join_part(lease, part("m5", join="full", need=1))

        assert await journal.unfilled_joins(trace_id) == [
            UnfilledJoin(join="z", turn=0, have=2, need=4),
            UnfilledJoin(join="a", turn=1, have=2, need=4),
            UnfilledJoin(join="b", turn=1, have=1, need=4),
        ], "joins that have parts and have not fired are told by turn and then by name"

    async def test_parts_outlive_their_handle(self, open_store: OpenStore, trace_id: str) -> None:
        first = await open_store()
        lease = await opened(self.able(first, JournalStore), trace_id, outstanding=10)
        for name in ("m0", "m1"):
            await self.able(first, JournalStore).add_join_part(lease, part(name))
        await call_off(first)

        state = await self.able(await open_store(), JournalStore).add_join_part(lease, part("m2"))
        assert fired(state) == ["m0", "m1", "m2"], "a part that add_join_part has returned for is kept"

    async def test_a_cancelled_part_may_be_repeated(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id, outstanding=1000)
        taken = 0
        async for number, attempt in at_each_await(
            lambda n: journal.add_join_part(lease, part(f"m{n}", join=f"join {n}", need=2))
        ):
            state = await journal.add_join_part(lease, part(f"m{number}", join=f"join {number}", need=2))
            taken += 1
            assert (fired(state), state.pending) == (None, 1000 - taken), (
                f"a part that was cancelled at {attempt.where} counts once, repeated or not"
            )
