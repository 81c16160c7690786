"""Who may work on a unit of a trace, and for how long."""

from __future__ import annotations

import asyncio

from penguiflow.state import Claim, JournalStore, Lease, TraceOutcome
from penguiflow_conformance._cancelling import at_each_await
from penguiflow_conformance._state.case import LONG_S, OpenStore, StoreCase, a_start, held, opened
from penguiflow_conformance._waiting import until

__all__ = ["ClaimRules", "UnfinishedRules", "claim_when_lapsed"]


async def claim_when_lapsed(journal: JournalStore, lease: Lease, *, owner: str, patience_s: float) -> Lease:
    """Take a unit for `owner` as soon as the lease of its holder has lapsed."""

    async def take() -> Lease | None:
        return (await journal.claim(lease.trace_id, lease.unit, owner=owner, lease_s=LONG_S)).lease

    return await until(take, patience_s=patience_s, rule="a unit whose lease has lapsed can be claimed by another")


async def waiting(journal: JournalStore, flow: str) -> list[str]:
    """Return the ids of the unfinished traces of a flow."""
    return [holder.trace_id for holder in await journal.unfinished(flow, owner="me", host="nowhere")]


async def open_in(journal: JournalStore, flow: str, trace_id: str, owner: str, lease_s: float) -> Lease:
    """Open a trace of a flow."""
    return await journal.open_trace(a_start(trace_id, flow=flow), owner=owner, lease_s=lease_s)


class ClaimRules(StoreCase):
    """`claim`, `extend`, `release` and `unfinished`."""

    async def test_a_unit_that_was_never_claimed_comes_into_being(self, journal: JournalStore, trace_id: str) -> None:
        await opened(journal, trace_id)

        claim = await journal.claim(trace_id, "m1", owner="b", lease_s=LONG_S)
        lease = held(claim, "a unit that was never claimed comes into being")
        assert (lease.trace_id, lease.generation, lease.unit, lease.owner) == (trace_id, 1, "m1", "b")
        assert (claim.state, claim.finished) == ("running", False)

    async def test_a_held_unit_is_refused_and_its_holder_named(self, journal: JournalStore, trace_id: str) -> None:
        await opened(journal, trace_id)
        await journal.claim(trace_id, "m1", owner="b", lease_s=LONG_S)

        claim = await journal.claim(trace_id, "m1", owner="c", lease_s=LONG_S)
        assert (claim.lease, claim.state, claim.holder, claim.finished) == (None, "running", "b", False), (
            f"a unit that is held cannot be claimed, and the claim says by whom: {claim}"
        )
        assert 0 < claim.remaining_s <= LONG_S, "a refused claim says for how many seconds the unit is held"

    async def test_units_are_claimed_apart(self, journal: JournalStore, trace_id: str) -> None:
        await opened(journal, trace_id)
        for unit in ("m1", "m2"):
            held(await journal.claim(trace_id, unit, owner=unit, lease_s=LONG_S), "each unit has a holder of its own")

    async def test_an_owner_that_claims_again_gets_a_new_epoch(self, journal: JournalStore, trace_id: str) -> None:
        first = await opened(journal, trace_id)

        again = held(await journal.claim(trace_id, "", owner="a", lease_s=LONG_S), "a holder may claim again")
        assert again.epoch > first.epoch, "the epoch rises with each claim, of the same owner too"

    async def test_a_lapsed_lease_is_for_anyone(self, journal: JournalStore, trace_id: str) -> None:
        lapsing = await opened(journal, trace_id, lease_s=self.short_lease_s)

        taken = await claim_when_lapsed(journal, lapsing, owner="b", patience_s=self.patience_s)
        assert (taken.owner, taken.epoch > lapsing.epoch) == ("b", True), "the epoch rises with each claim"

    async def test_a_lease_that_lasts_cannot_be_taken(self, journal: JournalStore, trace_id: str) -> None:
        await opened(journal, trace_id)
        lapsing = held(await journal.claim(trace_id, "m1", owner="b", lease_s=self.short_lease_s), "m1 is free")
        await claim_when_lapsed(journal, lapsing, owner="c", patience_s=self.patience_s)

        claim = await journal.claim(trace_id, "", owner="c", lease_s=LONG_S)
        assert claim.lease is None, f"a lease of {LONG_S} s has not lapsed after one of {self.short_lease_s} s did"

    async def test_force_takes_a_held_unit(self, journal: JournalStore, trace_id: str) -> None:
        first = await opened(journal, trace_id)

        taken = held(
            await journal.claim(trace_id, "", owner="b", lease_s=LONG_S, force=True), "force takes a unit that is held"
        )
        assert taken.epoch > first.epoch, "the epoch rises with each claim"
        assert await journal.extend([first], lease_s=LONG_S) == [first], "a lease ends when its unit is taken by force"

    async def test_of_many_that_claim_a_unit_one_gets_it(self, open_store: OpenStore, trace_id: str) -> None:
        handles = [self.able(await open_store(), JournalStore) for _ in range(2)]
        await opened(handles[0], trace_id)

        claims: list[Claim] = await asyncio.gather(
            *(handles[n % 2].claim(trace_id, "m1", owner=f"o{n}", lease_s=LONG_S) for n in range(10))
        )

        granted = [claim.lease for claim in claims if claim.lease is not None]
        assert len(granted) == 1, f"of concurrent claims of one unit one is granted, not {len(granted)}"
        assert {claim.holder for claim in claims if claim.lease is None} == {granted[0].owner}

    async def test_nothing_of_an_unknown_trace_is_claimed(self, journal: JournalStore, trace_id: str) -> None:
        claim = await journal.claim(trace_id, "", owner="a", lease_s=LONG_S)
        assert (claim.lease, claim.state) == (None, None), "a claim on an unknown trace gives neither lease nor state"

    async def test_nothing_of_an_ended_trace_is_claimed(self, journal: JournalStore, trace_id: str) -> None:
        await opened(journal, trace_id, lease_s=self.short_lease_s)
        await journal.finish_trace(trace_id, TraceOutcome(state="cancelled"))

        for unit, force in (("", False), ("m1", False), ("", True)):
            claim = await journal.claim(trace_id, unit, owner="b", lease_s=LONG_S, force=force)
            assert (claim.lease, claim.state) == (None, "cancelled"), "of a trace that has ended nothing can be claimed"

    async def test_nothing_of_another_generation_is_claimed(self, journal: JournalStore, trace_id: str) -> None:
        await opened(journal, trace_id)
        for generation in (0, 2):
            claim = await journal.claim(trace_id, "m1", owner="b", lease_s=LONG_S, generation=generation)
            assert (claim.lease, claim.state) == (None, None), "of an earlier or later generation nothing is claimed"
        held(
            await journal.claim(trace_id, "m1", owner="b", lease_s=LONG_S, generation=1),
            "the latest generation can be claimed by its number",
        )

    async def test_a_released_unit_is_for_anyone_at_once(self, journal: JournalStore, trace_id: str) -> None:
        first = await opened(journal, trace_id)
        await journal.release(first, done=False)

        taken = held(
            await journal.claim(trace_id, "", owner="b", lease_s=LONG_S), "a unit given up can be claimed at once"
        )
        assert taken.epoch > first.epoch, "the epoch rises with each claim, after a release too"

    async def test_a_unit_that_is_done_is_never_claimed_again(self, journal: JournalStore, trace_id: str) -> None:
        await opened(journal, trace_id)
        lease = held(await journal.claim(trace_id, "m1", owner="b", lease_s=LONG_S), "m1 is free")
        await journal.release(lease, done=True)

        for owner, force in (("b", False), ("c", False), ("c", True)):
            claim = await journal.claim(trace_id, "m1", owner=owner, lease_s=LONG_S, force=force)
            assert (claim.lease, claim.finished) == (None, True), "a unit released as done has nothing left to do"

    async def test_a_release_by_whoever_lost_the_lease_has_no_effect(
        self, journal: JournalStore, trace_id: str
    ) -> None:
        lost = await opened(journal, trace_id)
        await journal.claim(trace_id, "", owner="b", lease_s=LONG_S, force=True)
        for done in (False, True):
            await journal.release(lost, done=done)

        claim = await journal.claim(trace_id, "", owner="c", lease_s=LONG_S)
        assert (claim.lease, claim.holder, claim.finished) == (None, "b", False), (
            "a release has no effect where the lease is lost"
        )

    async def test_an_extended_lease_lasts(self, journal: JournalStore, trace_id: str) -> None:
        lease = await opened(journal, trace_id, lease_s=self.short_lease_s)
        lost = await journal.extend([lease], lease_s=LONG_S)

        claim = await journal.claim(trace_id, "", owner="b", lease_s=LONG_S)
        assert (lost, claim.lease) == ([], None), "an extended lease lasts from the time of the extension"
        assert claim.remaining_s > self.short_lease_s, "an extension counts from now, for as long as it says"

    async def test_leases_are_extended_together_and_the_lost_ones_told(
        self, journal: JournalStore, trace_id: str
    ) -> None:
        await opened(journal, trace_id)
        leases = [held(await journal.claim(trace_id, unit, owner="b", lease_s=LONG_S), "free") for unit in "xyz"]
        await journal.claim(trace_id, "y", owner="c", lease_s=LONG_S, force=True)

        assert await journal.extend(leases, lease_s=LONG_S) == [leases[1]], "extend returns the leases that are lost"
        assert await journal.extend([], lease_s=LONG_S) == []

    async def test_a_cancelled_claim_leaves_the_unit_to_its_owner(self, journal: JournalStore, trace_id: str) -> None:
        await opened(journal, trace_id)
        async for number, attempt in at_each_await(
            lambda n: journal.claim(trace_id, f"m{n}", owner="b", lease_s=LONG_S)
        ):
            again = await journal.claim(trace_id, f"m{number}", owner="b", lease_s=LONG_S)
            lease = held(again, f"a claim may be repeated by its owner after it was cancelled at {attempt.where}")
            assert await journal.extend([lease], lease_s=LONG_S) == []


class UnfinishedRules(StoreCase):
    """`unfinished`: what may have lost its owner."""

    async def test_a_trace_whose_lease_lapsed_is_unfinished(self, journal: JournalStore, trace_id: str) -> None:
        flow = f"flow {trace_id}"
        await open_in(journal, flow, f"{trace_id}-lapsing", "dead", self.short_lease_s)
        await open_in(journal, flow, f"{trace_id}-lasting", "alive", LONG_S)

        async def found() -> list[str]:
            return await waiting(journal, flow)

        assert await until(found, patience_s=self.patience_s, rule="a trace whose lease lapsed is unfinished") == [
            f"{trace_id}-lapsing"
        ], "a trace whose lease lasts is not unfinished"
        assert await waiting(journal, f"{flow} other") == [], "unfinished tells of one flow only"

    async def test_a_neighbour_is_told_whether_or_not_its_lease_lasts(
        self, journal: JournalStore, trace_id: str
    ) -> None:
        flow = f"flow {trace_id}"
        await open_in(journal, flow, f"{trace_id}-near", "host-1/7/x", LONG_S)
        await open_in(journal, flow, f"{trace_id}-far", "host-2/7/x", LONG_S)
        await open_in(journal, flow, f"{trace_id}-own", "host-1/8/me", LONG_S)

        holders = await journal.unfinished(flow, owner="host-1/8/me", host="host-1/")
        assert [(holder.trace_id, holder.owner) for holder in holders] == [(f"{trace_id}-near", "host-1/7/x")], (
            "unfinished tells of holders whose name begins with `host`, and never of `owner` itself"
        )
        assert holders[0].generation == 1
        assert 0 < holders[0].remaining_s <= LONG_S, "it says how long the lease lasts"

    async def test_what_is_released_is_unfinished_until_it_is_done(self, journal: JournalStore, trace_id: str) -> None:
        flow = f"flow {trace_id}"
        lease = await open_in(journal, flow, trace_id, "a", LONG_S)
        await journal.release(lease, done=False)
        assert await waiting(journal, flow) == [trace_id], "a unit that was given up is for anyone"

        taken = held(await journal.claim(trace_id, "", owner="b", lease_s=LONG_S), "it was given up")
        await journal.release(taken, done=True)
        assert await waiting(journal, flow) == [], "a trace whose first unit is done is not unfinished"

    async def test_an_ended_trace_is_not_unfinished(self, journal: JournalStore, trace_id: str) -> None:
        flow = f"flow {trace_id}"
        await journal.release(await open_in(journal, flow, trace_id, "a", LONG_S), done=False)
        await journal.finish_trace(trace_id, TraceOutcome(state="failed"))

        assert await waiting(journal, flow) == [], "a trace that has ended is not unfinished"

    async def test_the_oldest_come_first_and_no_more_than_asked_for(self, journal: JournalStore, trace_id: str) -> None:
        flow = f"flow {trace_id}"
        traces = [f"{trace_id}-{number}" for number in (3, 1, 2)]
        for trace in traces:
            await journal.release(await open_in(journal, flow, trace, "a", LONG_S), done=False)

        assert await waiting(journal, flow) == traces, "unfinished traces come in the order in which they began"
        few = await journal.unfinished(flow, owner="me", host="nowhere", limit=2)
        assert [holder.trace_id for holder in few] == traces[:2], "unfinished returns `limit` traces at most"
