"""Writes of whoever has lost the right to write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from penguiflow.errors import LeaseLost, TraceOver
from penguiflow.state import JoinPart, JournalStore, Lease, TraceOutcome
from penguiflow_conformance._state.case import LONG_S, OpenStore, StoreCase, a_start, a_step, held
from penguiflow_conformance._state.claims import claim_when_lapsed

__all__ = ["FencingRules"]

Write: TypeAlias = Callable[[JournalStore, Lease], Awaitable[Any]]

WRITES: dict[str, Write] = {
    "mark_started": lambda journal, lease: journal.mark_started(lease, "m9", "left"),
    "record_step": lambda journal, lease: journal.record_step(lease, a_step("m9", produced=3)),
    "add_join_part": lambda journal, lease: journal.add_join_part(
        lease, JoinPart(message_id="m9", join="join", turn=0, need=2, value=1)
    ),
    "reopen": lambda journal, lease: journal.reopen(lease, "m9"),
    "finish_trace": lambda journal, lease: journal.finish_trace(
        lease.trace_id, TraceOutcome(state="failed"), lease=lease
    ),
}
"""Every call that takes a lease and writes."""

each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


async def refuses(journal: JournalStore, write: Write, lease: Lease) -> None:
    """Check that a write with a lost lease is refused, and wrote nothing."""
    before = await writable(journal, lease.trace_id)
    with pytest.raises(LeaseLost):
        await write(journal, lease)
    assert await writable(journal, lease.trace_id) == before, "a write that is refused with LeaseLost writes nothing"


async def writable(journal: JournalStore, trace_id: str) -> object:
    """Return what a write could have changed."""
    record = await journal.load_trace(trace_id)
    assert record is not None
    steps, joins = await journal.load_steps(trace_id), await journal.unfilled_joins(trace_id)
    return record.generation, record.outcome.state, record.pending, record.steps, steps, joins


class FencingRules(StoreCase):
    """`LeaseLost` and `TraceOver`."""

    @each_write
    async def test_a_unit_taken_by_another_cannot_be_written_for(
        self, journal: JournalStore, trace_id: str, write: Write
    ) -> None:
        lost = await journal.open_trace(a_start(trace_id), owner="zombie", lease_s=self.short_lease_s)
        await claim_when_lapsed(journal, lost, owner="b", patience_s=self.patience_s)

        await refuses(journal, write, lost)

    @each_write
    async def test_an_earlier_epoch_of_the_same_owner_cannot_write(
        self, journal: JournalStore, trace_id: str, write: Write
    ) -> None:
        earlier = await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        await journal.claim(trace_id, "", owner="a", lease_s=LONG_S)

        await refuses(journal, write, earlier)

    @each_write
    async def test_a_later_generation_cannot_be_written_for(
        self, journal: JournalStore, trace_id: str, write: Write
    ) -> None:
        earlier = await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        await journal.finish_trace(trace_id, TraceOutcome(state="cancelled"))
        await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)

        await refuses(journal, write, earlier)

    @pytest.mark.parametrize("name", [name for name in WRITES if name != "finish_trace"])
    async def test_an_ended_trace_cannot_be_written_for(self, journal: JournalStore, trace_id: str, name: str) -> None:
        lease = await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        await journal.finish_trace(trace_id, TraceOutcome(state="cancelled"))

        with pytest.raises(TraceOver) as caught:
            await WRITES[name](journal, lease)
        assert caught.value.state == "cancelled", "TraceOver says how the trace ended"
        record = await journal.load_trace(trace_id)
        assert record is not None
        assert (record.steps, record.pending) == (0, 2), "a write for a trace that has ended writes nothing"

    @each_write
    async def test_a_lapsed_lease_writes_while_nobody_took_the_unit(
        self, journal: JournalStore, trace_id: str, write: Write
    ) -> None:
        await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        slow = held(await journal.claim(trace_id, "m1", owner="a", lease_s=self.short_lease_s), "m1 is free")
        other = held(await journal.claim(trace_id, "m2", owner="b", lease_s=self.short_lease_s), "m2 is free")
        await claim_when_lapsed(journal, other, owner="c", patience_s=self.patience_s)

        # It began before the one that has lapsed by now.
        await write(journal, slow)

    @each_write
    async def test_units_are_fenced_apart(self, journal: JournalStore, trace_id: str, write: Write) -> None:
        await journal.open_trace(a_start(trace_id), owner="a", lease_s=LONG_S)
        mine = held(await journal.claim(trace_id, "m1", owner="a", lease_s=LONG_S), "m1 is free")
        for unit in ("", "m2"):
            await journal.claim(trace_id, unit, owner="b", lease_s=LONG_S, force=True)

        await write(journal, mine)

    async def test_a_zombie_is_fenced_at_every_handle(self, open_store: OpenStore, trace_id: str) -> None:
        zombie = self.able(await open_store(), JournalStore)
        lost = await zombie.open_trace(a_start(trace_id), owner="zombie", lease_s=self.short_lease_s)
        other = self.able(await open_store(), JournalStore)
        await claim_when_lapsed(other, lost, owner="b", patience_s=self.patience_s)

        with pytest.raises(LeaseLost):
            await zombie.record_step(lost, a_step("m1"))
        assert await other.load_steps(trace_id) == [], "a zombie writes nothing, whatever handle it has"
