"""What the store on Postgres survives: restarts and crashes of the server, answers that are lost, and other writers."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from servers import PostgresServer

from penguiflow import LeaseLost
from penguiflow.state import Lease, Step, TraceOutcome, TraceStart
from penguiflow_state import StateStoreError, StoreUnavailable
from penguiflow_state.postgres import PostgresStateStore

StartOf = Callable[..., TraceStart]
OpenPostgres = Callable[..., PostgresStateStore]


async def record_until(store: PostgresStateStore, lease: Lease, stop: asyncio.Event) -> list[str]:
    """Record steps one after the other, each with an event before it, until told to stop; returns their ids."""
    recorded: list[str] = []
    while not stop.is_set():
        message_id = str(len(recorded))
        await store.save_event(lease.trace_id, float(message_id), "node_end", {})
        state = await store.record_step(lease, Step(message_id=message_id, node_name="a", produced=3))
        assert state.first, "a group whose answer was lost is not written twice"
        recorded.append(message_id)
    return recorded


async def check(store: PostgresStateStore, lease: Lease, recorded: list[str]) -> None:
    """Find exactly what was acknowledged, once each."""
    record = await store.load_trace(lease.trace_id)
    assert record is not None
    assert [step.message_id for step in await store.load_steps(lease.trace_id)] == recorded
    assert (record.steps, record.pending) == (len(recorded), 1 + 2 * len(recorded))
    assert [str(int(event["ts"])) for event in await store.load_history(lease.trace_id)] == recorded


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_a_server_that_goes_and_comes_back_costs_nothing(
    own_server: PostgresServer,
    open_postgres: OpenPostgres,
    start_of: StartOf,
    how: str,
    scale: Callable[[int, int], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, stop, times = open_postgres(own_server.dsn), asyncio.Event(), scale(3, 50)
    leases = [await store.open_trace(start_of(f"t{n}"), owner="o", lease_s=600) for n in range(8)]
    recording = [asyncio.create_task(record_until(store, lease, stop)) for lease in leases]
    for _ in range(times):
        before = len(await store.load_steps("t0"))
        while len(await store.load_steps("t0")) < before + 3:
            assert not any(task.done() for task in recording)
        if how == "kill":
            await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(own_server.restart)
    stop.set()
    recorded = await asyncio.gather(*recording)

    for lease, ids in zip(leases, recorded, strict=True):
        await check(store, lease, ids)
    with capsys.disabled():
        print(f"\n{times} times {how} of Postgres while writing: {sum(map(len, recorded))} steps, each there once")


@pytest.mark.timeout(120)
async def test_an_answer_that_is_lost_on_the_way_is_not_written_twice(
    own_server: PostgresServer,
    open_postgres: OpenPostgres,
    start_of: StartOf,
    run_proxy: Any,
    scale: Callable[[int, int], int],
) -> None:
    async with run_proxy(own_server) as proxy:
        store, stop = open_postgres(proxy.dsn), asyncio.Event()
        lease = await store.open_trace(start_of(), owner="o", lease_s=600)
        recording = asyncio.create_task(record_until(store, lease, stop))
        cuts = scale(10, 200)
        while proxy.cuts < cuts:
            proxy.cuts_left = 1
            await asyncio.sleep(0)
            assert not recording.done()
        stop.set()
        await check(store, lease, await recording)
        await store.close()


async def test_a_server_that_stays_away_is_an_error_and_its_return_the_end_of_it(
    own_server: PostgresServer, open_postgres: OpenPostgres, start_of: StartOf
) -> None:
    store = open_postgres(own_server.dsn, retry_s=0.2)
    lease = await store.open_trace(start_of(), owner="o", lease_s=600)
    await store.load_steps("t")
    await asyncio.to_thread(own_server.stop)
    try:
        with pytest.raises(StoreUnavailable, match="check that the server runs"):
            await store.record_step(lease, Step(message_id="m", node_name="a"))
        with pytest.raises(StoreUnavailable):
            await store.load_steps("t")
    finally:
        await asyncio.to_thread(own_server.start)

    assert (await store.record_step(lease, Step(message_id="m", node_name="a"))).first
    assert len(await store.load_steps("t")) == 1


async def test_a_server_that_was_never_there_is_an_error_at_once(
    own_server: PostgresServer, open_postgres: OpenPostgres
) -> None:
    store = open_postgres(f"postgresql://postgres:secret@127.0.0.1:{own_server.port}/nowhere", retry_s=600)
    with pytest.raises(
        StoreUnavailable, match=f'{own_server.port}/nowhere: .*database "nowhere" does not exist'
    ) as caught:
        await store.open()

    assert "secret" not in str(caught.value)


async def test_writers_on_the_same_traces_never_wait_for_one_another_in_a_circle(
    own_server: PostgresServer, open_postgres: OpenPostgres, start_of: StartOf
) -> None:
    stores = [open_postgres(own_server.dsn, blob_bytes=50) for _ in range(3)]
    names = [f"t{number}" for number in range(12)]
    leases = [await stores[0].open_trace(start_of(name), owner="o", lease_s=600) for name in names]
    randomly = random.Random(7)

    async def write(store: PostgresStateStore, number: int) -> None:
        for lease in randomly.sample(leases, len(leases)):
            step = Step(message_id=f"{number}", node_name="a", outputs="x" * 100 + str(number % 5))
            await store.record_step(lease, step)
            await store.save_event(lease.trace_id, 1.0, "emit", {"text": "y" * 100 + str(number % 7)})
            await store.save_remote_binding(lease.trace_id, "c", f"{number % 3}", "u")
            if number % 10 == 0:
                await store.prune(older_than_s=0)

    await asyncio.gather(*(write(stores[number % 3], number) for number in range(60)))
    for name in names:
        assert len(await stores[0].load_steps(name)) == 60
    with psycopg.connect(own_server.dsn) as db:
        assert db.execute("SELECT sum(deadlocks) FROM pg_stat_database").fetchone() == (0,)


async def test_a_reader_that_follows_misses_no_event_and_sees_none_twice(
    own_server: PostgresServer, open_postgres: OpenPostgres
) -> None:
    writers, reader = [open_postgres(own_server.dsn) for _ in range(3)], open_postgres(own_server.dsn)
    _, stand = await reader.load_events(after=-1)
    seen: list[tuple[str, float]] = []

    async def write(store: PostgresStateStore, trace_id: str) -> None:
        for number in range(200):
            await store.save_event(trace_id, float(number), "emit", {})
            if number % 20 == 0:
                await store.load_history(trace_id)

    writing = asyncio.gather(*(write(writers[n % 3], f"t{n}") for n in range(6)))
    while len(seen) < 1200:
        events, stand = await reader.load_events(after=stand, limit=50)
        seen += [(event["trace_id"], event["ts"]) for event in events]
    await writing
    assert sorted(seen) == sorted((f"t{n}", float(number)) for n in range(6) for number in range(200))
    for n in range(6):
        assert [ts for name, ts in seen if name == f"t{n}"] == [float(number) for number in range(200)]


async def test_of_two_that_take_a_trace_by_force_one_writes_at_a_time(
    own_server: PostgresServer, open_postgres: OpenPostgres, start_of: StartOf
) -> None:
    stores = [open_postgres(own_server.dsn) for _ in range(2)]
    await stores[0].open_trace(start_of(), owner="first", lease_s=60)

    async def take(number: int) -> int:
        accepted = 0
        for turn in range(10):
            claim = await stores[number % 2].claim("t", "", owner=f"o{number}", lease_s=60, force=True)
            assert claim.lease is not None
            try:
                step = Step(message_id=f"{number}-{turn}", node_name="a", produced=2)
                accepted += (await stores[number % 2].record_step(claim.lease, step)).first
            except LeaseLost:
                continue
        return accepted

    accepted = sum(await asyncio.gather(*(take(number) for number in range(8))))
    record = await stores[0].load_trace("t")
    assert record is not None
    assert (record.steps, record.pending) == (accepted, 1 + accepted)


async def test_a_write_that_fails_harms_no_other_of_its_group(
    own_server: PostgresServer, open_postgres: OpenPostgres, start_of: StartOf
) -> None:
    store = open_postgres(own_server.dsn)
    lease = await store.open_trace(start_of(), owner="o", lease_s=60)
    steps = [Step(message_id=f"{n}", node_name="a", produced=2**40 if n == 7 else 1) for n in range(20)]

    results = await asyncio.gather(*(store.record_step(lease, step) for step in steps), return_exceptions=True)

    assert [type(result) for result in results].count(StateStoreError) == 1
    assert len(await store.load_steps("t")) == 19


async def test_what_a_closed_store_was_given_is_there(
    own_server: PostgresServer, open_postgres: OpenPostgres, start_of: StartOf
) -> None:
    store = open_postgres(own_server.dsn)
    for number in range(10):
        await store.save_event("t", float(number), "emit", {})
    await store.close()

    with pytest.raises(StateStoreError, match="was closed"):
        await store.open_trace(start_of(), owner="o", lease_s=60)
    again = open_postgres(own_server.dsn)
    assert len(await again.load_history("t")) == 10
    assert await again.finish_trace("t", TraceOutcome(state="failed")) is None
