"""Stores that each break one rule: every test class here has a test that has to fail."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from penguiflow.errors import LeaseLost
from penguiflow.state import (
    Claim,
    InMemoryStateStore,
    JoinPart,
    JoinState,
    Lease,
    LeaseHolder,
    RemoteBinding,
    StateStore,
    Step,
    StepState,
    StoredEvent,
    TraceOutcome,
    TraceRecord,
)
from penguiflow_conformance import StateStoreContract
from penguiflow_conformance._adapters import Make


class Broken(StateStoreContract):
    """Makes the store that the class names."""

    patience_s = 0.5
    store_type: type[StateStore] = InMemoryStateStore

    @pytest.fixture
    def make_store(self) -> Make[StateStore]:
        store = self.store_type()
        return lambda: store


class LosesOrder(InMemoryStateStore):
    async def load_history(self, trace_id: str) -> list[StoredEvent]:
        return sorted(await super().load_history(trace_id), key=lambda event: event["ts"])


class TestLosesOrder(Broken):
    store_type = LosesOrder


class TestKeepsNothing(Broken):
    """Each handle has data of its own."""

    @pytest.fixture
    def make_store(self) -> Make[StateStore]:
        return InMemoryStateStore


class KeepsTheCallersObject(InMemoryStateStore):
    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, list[StoredEvent]] = {}

    async def load_history(self, trace_id: str) -> list[StoredEvent]:
        return self.kept.setdefault(trace_id, await super().load_history(trace_id))


class TestKeepsTheCallersObject(Broken):
    store_type = KeepsTheCallersObject


class WritesTwiceWhenCancelled(InMemoryStateStore):
    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None:
        try:
            await super().save_event(trace_id, ts, kind, data)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await super().save_event(trace_id, ts, kind, data)
            raise


class TestWritesTwiceWhenCancelled(Broken):
    store_type = WritesTwiceWhenCancelled


class DropsTheGroupWhenCancelled(InMemoryStateStore):
    """Writes in groups; a caller that is cancelled takes the whole group with it."""

    def __init__(self) -> None:
        super().__init__()
        self.group: list[tuple[str, float, str, dict[str, Any]]] = []

    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None:
        self.group.append((trace_id, ts, kind, data))
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.group.clear()
            raise
        group, self.group = self.group, []
        for event in group:
            await super().save_event(*event)


class TestDropsTheGroupWhenCancelled(Broken):
    store_type = DropsTheGroupWhenCancelled


class SplitsBatches(InMemoryStateStore):
    async def save_events(self, events: Sequence[StoredEvent]) -> None:
        for event in events:
            await self.save_event(event["trace_id"], event["ts"], event["kind"], event["data"])


class TestSplitsBatches(Broken):
    store_type = SplitsBatches


class RepeatsBindings(InMemoryStateStore):
    async def load_remote_bindings(self, trace_id: str) -> list[RemoteBinding]:
        return (await super().load_remote_bindings(trace_id)) * 2


class TestRepeatsBindings(Broken):
    store_type = RepeatsBindings


class ForgetsLeases(InMemoryStateStore):
    async def claim(self, trace_id: str, unit: str, *, force: bool = False, **options: Any) -> Claim:
        return await super().claim(trace_id, unit, force=True, **options)


class TestForgetsLeases(Broken):
    store_type = ForgetsLeases


class HoldsForEver(InMemoryStateStore):
    async def open_trace(self, start: Any, *, owner: str, lease_s: float) -> Lease:
        return await super().open_trace(start, owner=owner, lease_s=lease_s + 3600)


class TestHoldsForEver(Broken):
    store_type = HoldsForEver


class IgnoresEpochs(InMemoryStateStore):
    async def record_step(self, lease: Lease, step: Step) -> StepState:
        try:
            return await super().record_step(lease, step)
        except LeaseLost:
            claim = await self.claim(lease.trace_id, lease.unit, owner=lease.owner, lease_s=60, force=True)
            assert claim.lease is not None
            return await super().record_step(claim.lease, step)


class TestIgnoresEpochs(Broken):
    store_type = IgnoresEpochs


class CountsStepsTwice(InMemoryStateStore):
    async def record_step(self, lease: Lease, step: Step) -> StepState:
        state = await super().record_step(lease, step)
        if not state.first:
            await self.reopen(lease, f"again {step.message_id}")
            record = await self.load_trace(lease.trace_id)
            assert record is not None
            return replace(state, pending=record.pending)
        return state


class TestCountsStepsTwice(Broken):
    store_type = CountsStepsTwice


class LetsTheLastStepWin(InMemoryStateStore):
    async def record_step(self, lease: Lease, step: Step) -> StepState:
        return replace(await super().record_step(lease, step), step=step)


class TestLetsTheLastStepWin(Broken):
    store_type = LetsTheLastStepWin


class FiresJoinsTwice(InMemoryStateStore):
    async def add_join_part(self, lease: Lease, part: JoinPart) -> JoinState:
        state = await super().add_join_part(lease, part)
        return replace(state, parts=[], late=False) if state.late else state


class TestFiresJoinsTwice(Broken):
    store_type = FiresJoinsTwice


class CountsPartsByArrival(InMemoryStateStore):
    def __init__(self) -> None:
        super().__init__()
        self.arrivals = 0

    async def add_join_part(self, lease: Lease, part: JoinPart) -> JoinState:
        self.arrivals += 1
        return await super().add_join_part(lease, replace(part, message_id=f"{part.message_id}/{self.arrivals}"))


class TestCountsPartsByArrival(Broken):
    store_type = CountsPartsByArrival


class DuplicatesValues(InMemoryStateStore):
    async def load_trace(self, trace_id: str) -> TraceRecord | None:
        record = await super().load_trace(trace_id)
        if record is None:
            return None
        return replace(record, outcome=replace(record.outcome, values=[*record.outcome.values] * 2))


class TestDuplicatesValues(Broken):
    store_type = DuplicatesValues


class LetsTheLastOutcomeWin(InMemoryStateStore):
    async def finish_trace(self, trace_id: str, outcome: TraceOutcome, **options: Any) -> TraceOutcome | None:
        stands = await super().finish_trace(trace_id, outcome, **options)
        return stands and replace(stands, state=outcome.state)


class TestLetsTheLastOutcomeWin(Broken):
    store_type = LetsTheLastOutcomeWin


class ReleasesForAnyone(InMemoryStateStore):
    async def release(self, lease: Lease, *, done: bool) -> None:
        claim = await self.claim(lease.trace_id, lease.unit, owner=lease.owner, lease_s=60, force=True)
        await super().release(claim.lease or lease, done=done)


class TestReleasesForAnyone(Broken):
    store_type = ReleasesForAnyone


class ForgetsNeighbours(InMemoryStateStore):
    async def unfinished(self, flow: str, *, owner: str, host: str, limit: int = 100) -> list[LeaseHolder]:
        return await super().unfinished(flow, owner=owner, host="nowhere", limit=limit)


class TestForgetsNeighbours(Broken):
    store_type = ForgetsNeighbours


class ReopensAgain(InMemoryStateStore):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    async def reopen(self, lease: Lease, message_id: str) -> int:
        self.calls += 1
        return await super().reopen(lease, f"{message_id}/{self.calls}")


class TestReopensAgain(Broken):
    store_type = ReopensAgain


class SkipsEventsOfAPage(InMemoryStateStore):
    async def load_events(self, *, after: int = 0, limit: int = 1000) -> tuple[list[StoredEvent], int]:
        events, _ = await super().load_events(after=after, limit=limit)
        _, last = await super().load_events(after=-1)
        return events, last


class TestSkipsEventsOfAPage(Broken):
    store_type = SkipsEventsOfAPage


class PrunesWhatRuns(InMemoryStateStore):
    async def prune(self, *, older_than_s: float) -> int:
        for record in await self.list_traces(state="running"):
            await self.finish_trace(record.start.trace_id, TraceOutcome(state="cancelled"))
        return await super().prune(older_than_s=older_than_s)


class TestPrunesWhatRuns(Broken):
    store_type = PrunesWhatRuns
