"""Large texts are kept once, and go with the last trace that uses them; what is old is forgotten whole."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from penguiflow import TraceOver
from penguiflow.state import JoinPart, Step, TraceOutcome, TraceStart, TraceValue
from penguiflow_state import SqliteStateStore

StartOf = Callable[..., TraceStart]
OpenStore = Callable[..., SqliteStateStore]
LARGE = {"passages": "x" * 50_000}


def rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        found: int = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return found


async def write_large(store: SqliteStateStore, start: TraceStart) -> None:
    """Write the same large payload wherever one may stand."""
    lease = await store.open_trace(start, owner="o", lease_s=60)
    await store.save_event(start.trace_id, 1.0, "emit", LARGE)
    value = TraceValue("v", "exit", LARGE)
    await store.record_step(lease, Step(message_id="m", node_name="a", outputs=LARGE, values=[value]))
    await store.add_join_part(lease, JoinPart(message_id="p", join="j", turn=0, need=2, value=LARGE))


async def test_a_large_payload_comes_back_from_wherever_it_stood(open_store: OpenStore, start_of: StartOf) -> None:
    store = open_store()
    await write_large(store, start_of(message=LARGE))
    lease = (await store.claim("t", "", owner="o", lease_s=60)).lease
    assert lease is not None

    fired = await store.add_join_part(lease, JoinPart(message_id="q", join="j", turn=0, need=2))
    again = await store.record_step(lease, Step(message_id="m", node_name="a"))
    record = await store.load_trace("t")
    outcome = await store.finish_trace("t", TraceOutcome(state="failed", error=LARGE))

    assert fired.parts is not None
    assert [part.value for part in fired.parts] == [LARGE, None]
    assert again.step.outputs == (await store.load_steps("t"))[0].outputs == LARGE
    assert record is not None
    assert record.start.message == record.outcome.values[0].value == LARGE
    assert (await store.load_history("t"))[0]["data"] == LARGE
    assert outcome is not None
    assert outcome.error == outcome.values[0].value == LARGE


async def test_equal_large_payloads_are_kept_once(open_store: OpenStore, start_of: StartOf, tmp_path: Path) -> None:
    store = open_store()
    for number in range(5):
        await write_large(store, start_of(f"t{number}"))

    # One is the payload itself, one the list of values that holds it.
    assert rows(tmp_path / "traces.db", "blobs") == 2


async def test_a_blob_goes_with_the_last_trace_that_uses_it(
    open_store: OpenStore, start_of: StartOf, tmp_path: Path
) -> None:
    store = open_store()
    for trace_id in ("ended", "running"):
        await write_large(store, start_of(trace_id))
    await store.finish_trace("ended", TraceOutcome(state="completed"))

    assert await store.prune(older_than_s=0) == 1
    assert (await store.load_steps("running"))[0].outputs == LARGE
    await store.finish_trace("running", TraceOutcome(state="completed"))
    assert await store.prune(older_than_s=0) == 1
    tables = ("blobs", "blob_uses", "events", "steps", "units", "joins", "join_parts", "traces")
    assert [rows(tmp_path / "traces.db", table) for table in tables] == [0] * len(tables)


async def test_a_refused_write_keeps_no_blob(open_store: OpenStore, start_of: StartOf, tmp_path: Path) -> None:
    store = open_store()
    lease = await store.open_trace(start_of(), owner="o", lease_s=60)
    await store.finish_trace("t", TraceOutcome(state="cancelled"))
    with pytest.raises(TraceOver):
        await store.record_step(lease, Step(message_id="m", node_name="a", outputs=LARGE))

    assert rows(tmp_path / "traces.db", "blobs") == 0


async def test_many_old_traces_are_forgotten_in_several_transactions(open_store: OpenStore, start_of: StartOf) -> None:
    store = open_store()
    for number in range(250):
        await store.save_event(f"events-{number}", 1.0, "emit", {})
        await store.open_trace(start_of(f"t{number}"), owner="o", lease_s=60)
        await store.finish_trace(f"t{number}", TraceOutcome(state="completed"))

    assert await store.prune(older_than_s=60) == 0
    assert await store.prune(older_than_s=0) == 500
    assert await store.list_traces() == []
    assert await store.load_events() == ([], 0)


async def test_without_sync_an_idle_store_brings_its_commits_to_the_disk(
    open_store: OpenStore, start_of: StartOf, tmp_path: Path
) -> None:
    store = open_store(durability="async", sync_every_s=0.01)
    assert store.loss_bound_s > 0.05
    await store.open_trace(start_of(), owner="o", lease_s=60)

    with closing(sqlite3.connect(tmp_path / "traces.db")) as db:
        while not db.execute("SELECT mark FROM sync_marks").fetchone()[0]:
            await store.load_states(["t"])
