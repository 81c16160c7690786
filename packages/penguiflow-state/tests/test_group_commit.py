"""One thread that commits in groups: who shares a commit, who is spared, and what happens at the end."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penguiflow.state import Step, TraceStart
from penguiflow_state import SqliteStateStore, StoreClosed
from penguiflow_state import _group_writer as group_writer

StartOf = Callable[..., TraceStart]
OpenStore = Callable[..., SqliteStateStore]
SCRIPTS = Path(__file__).parent / "scripts"


async def test_64_writers_at_once_share_commits(open_store: OpenStore, start_of: StartOf) -> None:
    store = open_store()
    leases = [await store.open_trace(start_of(f"t{number}"), owner="o", lease_s=60) for number in range(64)]
    statements: list[str] = []
    backend: Any = store._writer._backend
    backend._db.set_trace_callback(statements.append)

    states = await asyncio.gather(*(store.record_step(lease, Step(message_id="m", node_name="a")) for lease in leases))

    assert all(state.first for state in states)
    assert 1 <= statements.count("COMMIT") <= 4


async def test_a_write_that_fails_harms_no_other_of_its_group(open_store: OpenStore, start_of: StartOf) -> None:
    store = open_store()
    lease = await store.open_trace(start_of(), owner="o", lease_s=60)
    steps = [Step(message_id=f"{n}", node_name="a", produced=2**70 if n == 7 else 1) for n in range(20)]

    results = await asyncio.gather(*(store.record_step(lease, step) for step in steps), return_exceptions=True)

    assert [type(result) for result in results].count(OverflowError) == 1
    assert len(await store.load_steps("t")) == 19


async def test_a_cancelled_caller_takes_no_other_along(open_store: OpenStore, start_of: StartOf) -> None:
    store = open_store()
    lease = await store.open_trace(start_of(), owner="o", lease_s=60)
    tasks = [
        asyncio.create_task(store.record_step(lease, Step(message_id=f"{n}", node_name="a", produced=3)))
        for n in range(64)
    ]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.wait(tasks)

    record = await store.load_trace("t")
    assert record is not None
    assert record.steps >= 32
    assert record.pending == 1 + 2 * record.steps


async def test_what_is_taken_is_committed_without_a_further_call(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    await store.save_event("t", 1.0, "emit", {})

    while not await other.load_history("t"):
        pass


async def test_far_behind_callers_wait_and_lose_nothing(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_writer, "BACKLOG_CAP", 100)
    store = open_store()
    await store.open()
    blocker = sqlite3.connect(tmp_path / "traces.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    async def save() -> None:
        for number in range(300):
            await store.save_event("t", float(number), "emit", {})

    saving = asyncio.create_task(save())
    await asyncio.wait([saving], timeout=0.1)
    assert not saving.done()
    blocker.execute("ROLLBACK")
    blocker.close()
    await saving
    assert [event["ts"] for event in await store.load_history("t")] == [float(number) for number in range(300)]


async def test_two_event_loops_may_use_one_store(open_store: OpenStore) -> None:
    store = open_store()

    async def save(trace_id: str) -> int:
        for number in range(100):
            await store.save_event(trace_id, float(number), "emit", {})
        return len(await store.load_history(trace_id))

    other: list[int] = []
    thread = threading.Thread(target=lambda: other.append(asyncio.run(save("there"))))
    thread.start()
    here = await save("here")
    await asyncio.to_thread(thread.join)

    assert (here, other) == (100, [100])


async def test_a_loop_that_is_gone_holds_up_nobody(open_store: OpenStore, start_of: StartOf) -> None:
    store = open_store()

    async def leave() -> None:
        opening = asyncio.ensure_future(store.open_trace(start_of("left"), owner="o", lease_s=60))
        await asyncio.sleep(0)
        assert not opening.done()

    await asyncio.to_thread(asyncio.run, leave())

    assert (await store.open_trace(start_of("stays"), owner="o", lease_s=60)).generation == 1


async def test_close_writes_what_was_taken_and_refuses_the_rest(tmp_path: Path) -> None:
    store = SqliteStateStore(tmp_path / "traces.db")
    for number in range(10):
        await store.save_event("t", float(number), "emit", {})
    await store.close()
    await store.close()

    for call in (
        lambda: store.save_event("t", 1.0, "emit", {}),
        lambda: store.load_history("t"),
        lambda: store.load_states(["t"]),
        lambda: store.save_remote_binding("t", "c", "t", "u"),
    ):
        with pytest.raises(StoreClosed, match="was closed"):
            await call()
    async with SqliteStateStore(tmp_path / "traces.db") as again:
        assert len(await again.load_history("t")) == 10


async def test_a_cancelled_close_still_closes(tmp_path: Path) -> None:
    store = SqliteStateStore(tmp_path / "traces.db")
    await store.save_event("t", 1.0, "emit", {})
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])

    await store.close()
    async with SqliteStateStore(tmp_path / "traces.db") as again:
        assert len(await again.load_history("t")) == 1


async def test_a_store_that_nobody_closed_loses_no_event_at_exit(
    open_store: OpenStore, start_process: Callable[..., Any], tmp_path: Path
) -> None:
    process = start_process(SCRIPTS / "leave.py", tmp_path / "traces.db")
    _, said = await asyncio.to_thread(process.communicate)

    assert (process.returncode, said) == (0, "")
    assert len(await open_store().load_history("t")) == 10


async def test_a_fork_is_refused(start_process: Callable[..., Any], tmp_path: Path) -> None:
    process = start_process(SCRIPTS / "fork.py", tmp_path / "traces.db")
    said, errors = await asyncio.to_thread(process.communicate)

    assert "the process this one was forked from" in said, errors
