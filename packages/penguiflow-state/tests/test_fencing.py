"""Two handles on one file answer as the store in memory does, and one owner writes at a time."""

import asyncio
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penguiflow import FlowError, LeaseLost
from penguiflow.state import (
    InMemoryStateStore,
    JoinPart,
    JournalStore,
    Lease,
    Step,
    TraceOutcome,
    TraceStart,
    TraceValue,
)
from penguiflow_state import SqliteStateStore

START = TraceStart(trace_id="t", flow="f", version="1", graph={}, message=None, entries=("a", "b"))

names = st.sampled_from(["m1", "m2", "m3"])
units = st.sampled_from(["", "u"])
owners = st.sampled_from(["o1", "o2"])
held = st.integers(0, 5)
calls = st.one_of(
    st.tuples(st.just("open"), owners),
    st.tuples(st.just("claim"), units, owners, st.booleans()),
    st.tuples(st.just("release"), held, st.booleans()),
    st.tuples(st.just("extend"), held),
    st.tuples(st.just("start"), held, names),
    st.tuples(st.just("step"), held, names, st.integers(0, 2)),
    st.tuples(st.just("part"), held, names, st.booleans()),
    st.tuples(st.just("reopen"), held, names),
    st.tuples(st.just("finish"), st.none() | held, st.sampled_from(["completed", "failed"])),
    st.tuples(st.just("look")),
)


class Caller:
    """Makes the same calls of a store as another caller makes of another, with the leases that it got itself."""

    def __init__(self, *handles: JournalStore, start: TraceStart = START) -> None:
        self.handles = handles
        self.start_of = start
        self.leases: list[Lease] = []
        self.turn = 0

    async def make(self, call: tuple[Any, ...]) -> Any:
        """Make a call, and return what it came to in a form that two stores can be compared in."""
        self.turn += 1
        store = self.handles[self.turn % len(self.handles)]
        what, *given_ = call
        if given_ and isinstance(given_[0], int):
            if not self.leases:
                return None
            given_[0] = self.leases[given_[0] % len(self.leases)]
        try:
            return await getattr(self, what)(store, *given_)
        except FlowError as error:
            return error.code, error.message

    async def open(self, store: JournalStore, owner: str) -> Any:
        self.leases.append(await store.open_trace(self.start_of, owner=owner, lease_s=3600))
        return self.leases[-1]

    async def claim(self, store: JournalStore, unit: str, owner: str, force: bool) -> Any:
        claim = await store.claim(self.start_of.trace_id, unit, owner=owner, lease_s=3600, force=force)
        if claim.lease is not None:
            self.leases.append(claim.lease)
        return claim.lease, claim.state, claim.holder, round(claim.remaining_s / 100), claim.finished

    async def release(self, store: JournalStore, lease: Lease, done: bool) -> Any:
        return await store.release(lease, done=done)

    async def extend(self, store: JournalStore, lease: Lease) -> Any:
        return await store.extend([lease], lease_s=3600)

    async def start(self, store: JournalStore, lease: Lease, name: str) -> Any:
        return await store.mark_started(lease, name, "a")

    async def step(self, store: JournalStore, lease: Lease, name: str, produced: int) -> Any:
        values = [TraceValue(f"v{produced}", "exit", self.turn)]
        return await store.record_step(
            lease, Step(message_id=name, node_name="a", outputs=[self.turn], produced=produced, values=values)
        )

    async def part(self, store: JournalStore, lease: Lease, name: str, flush: bool) -> Any:
        part = JoinPart(message_id=name, join="j", turn=0, need=2, value=None if flush else name, flush=flush)
        return await store.add_join_part(lease, part), await store.unfilled_joins(self.start_of.trace_id)

    async def reopen(self, store: JournalStore, lease: Lease, name: str) -> Any:
        return await store.reopen(lease, name)

    async def finish(self, store: JournalStore, lease: Lease | None, state: Any) -> Any:
        return await store.finish_trace(self.start_of.trace_id, TraceOutcome(state=state), lease=lease)

    async def look(self, store: JournalStore) -> Any:
        record, steps, states = await asyncio.gather(
            store.load_trace(self.start_of.trace_id),
            store.load_steps(self.start_of.trace_id),
            store.load_states([self.start_of.trace_id, "unknown"]),
        )
        waiting = [holder.owner for holder in await store.unfinished(self.start_of.flow, owner="o1", host="o")]
        seen = record and (record.generation, record.outcome, record.pending, record.steps, record.start)
        return seen, steps, states, waiting


@pytest.mark.timeout(600)
@settings(max_examples=min(settings().max_examples // 2, 300))
@given(st.lists(calls, max_size=25).map(lambda rest: [("open", "o1"), *rest]))
def test_two_handles_on_one_file_answer_as_memory_does(sequence: list[tuple[Any, ...]]) -> None:
    async def compare() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "traces.db"
            async with SqliteStateStore(path, blob_bytes=3) as one, SqliteStateStore(path) as two:
                memory, file = Caller(InMemoryStateStore()), Caller(one, two)
                for call in [*sequence, ("look",)]:
                    assert await file.make(call) == await memory.make(call), call

    asyncio.run(compare())


@pytest.mark.timeout(600)
@settings(
    max_examples=min(settings().max_examples // 4, 300), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sequence=st.lists(calls, max_size=25).map(lambda rest: [("open", "o1"), *rest]))
def test_two_handles_on_one_server_answer_as_memory_does(
    sequence: list[tuple[Any, ...]], request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("psycopg", reason="the extra postgres is not installed here")
    from penguiflow_state.postgres import PostgresStateStore

    dsn = request.getfixturevalue("postgres_server").dsn

    async def compare() -> None:
        start = replace(START, trace_id=uuid.uuid4().hex, flow=uuid.uuid4().hex)
        one, two = PostgresStateStore(dsn, blob_bytes=3), PostgresStateStore(dsn)
        async with one, two:
            memory, server = Caller(InMemoryStateStore(), start=start), Caller(one, two, start=start)
            for call in [*sequence, ("look",)]:
                assert await server.make(call) == await memory.make(call), call

    asyncio.run(compare())


async def claims(store: JournalStore, owner: str, won: list[Lease]) -> int:
    """Take the trace by force and write, again and again; returns how many writes were accepted."""
    accepted = 0
    for number in range(20):
        lease = (await store.claim("t", "", owner=owner, lease_s=60, force=True)).lease
        assert lease is not None
        won.append(lease)
        try:
            state = await store.record_step(lease, Step(message_id=f"{owner}-{number}", node_name="a", produced=2))
        except LeaseLost:
            continue
        accepted += state.first
    return accepted


async def test_of_many_that_take_a_trace_by_force_the_last_one_has_it(tmp_path: Path) -> None:
    async with SqliteStateStore(tmp_path / "t.db") as one, SqliteStateStore(tmp_path / "t.db") as two:
        await one.open_trace(START, owner="first", lease_s=60)
        won: list[Lease] = []
        accepted = await asyncio.gather(*(claims((one, two)[n % 2], f"o{n}", won) for n in range(8)))

        last = max(won, key=lambda lease: lease.epoch)
        assert len({lease.epoch for lease in won}) == len(won) == 160
        record = await one.load_trace("t")
        assert record is not None
        assert record.steps == sum(accepted)
        assert record.pending == 2 + sum(accepted)
        assert await one.extend(won, lease_s=60) == [lease for lease in won if lease is not last]
