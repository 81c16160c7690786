"""What the store on SQLite survives: kills, full disks, locks, and other processes on its file."""

import asyncio
import itertools
import os
import random
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penguiflow.state import Lease, Step, TraceStart
from penguiflow_state import EventsLost, SqliteStateStore, StoreFull, StoreUnavailable

StartOf = Callable[..., TraceStart]
OpenStore = Callable[..., SqliteStateStore]
StartProcess = Callable[..., "subprocess.Popen[str]"]
SCRIPTS = Path(__file__).parent / "scripts"


def acknowledged_before_kill(process: "subprocess.Popen[str]", lines: int) -> list[tuple[str, str]]:
    """Read so many lines, kill the process, and return all that it said."""
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    said += process.stdout.readlines()
    whole = [line for line in said if line.endswith("\n") and line != "end\n"]
    return [(trace_id, number) for trace_id, number in (line.split() for line in whole)]


@pytest.mark.timeout(600)
async def test_after_a_kill_what_was_acknowledged_is_there_and_nothing_is_half_there(
    start_process: StartProcess, tmp_path: Path, scale: Callable[[int, int], int], capsys: pytest.CaptureFixture[str]
) -> None:
    kills, acknowledged, randomly = scale(5, 100), 0, random.Random(4)
    for kill in range(kills):
        path = tmp_path / f"{kill}.db"
        process = start_process(SCRIPTS / "record.py", path, "t", 8, 100_000)
        said = await asyncio.to_thread(acknowledged_before_kill, process, randomly.randrange(1, 400))
        acknowledged += len(said)
        async with SqliteStateStore(path) as store:
            for record in await store.list_traces():
                trace_id = record.start.trace_id
                steps = {step.message_id for step in await store.load_steps(trace_id)}
                events = {str(event["data"]["number"]) for event in await store.load_history(trace_id)}
                assert {number for name, number in said if name == trace_id} <= steps <= events
                assert (record.steps, record.pending) == (len(steps), 1 + 2 * len(steps))
    with capsys.disabled():
        print(f"\n{kills} kills -9 while writing to SQLite: {acknowledged} acknowledged steps, none lost, none halved")


async def test_a_full_disk_is_an_error_until_there_is_room(start_process: StartProcess, tmp_path: Path) -> None:
    process = start_process(SCRIPTS / "fill.py", tmp_path / "traces.db")
    said, errors = await asyncio.to_thread(process.communicate)

    problem, verdict = said.splitlines() or ["", errors]
    assert problem.startswith(("STORE_UNAVAILABLE", "STORE_FULL")), problem
    assert "check the folder" in problem or "make room" in problem
    assert verdict.startswith("True "), said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=False, text=True)
    if mounted.returncode != 0:
        pytest.skip("no small file system can be mounted here: that needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def record_for_ever(store: SqliteStateStore, lease: Lease) -> None:
    for number in itertools.count():
        await store.record_step(lease, Step(message_id=f"{number}", node_name="a", outputs="x" * 9_000))


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can be mounted by root only")
async def test_events_that_find_no_room_are_told_of_by_the_next_call(small_disk: Path, start_of: StartOf) -> None:
    store = SqliteStateStore(small_disk / "traces.db")
    lease = await store.open_trace(start_of(), owner="o", lease_s=60)
    with pytest.raises(StoreFull, match="make room on its disk"):
        await record_for_ever(store, lease)
    await store.save_event("t", 1.0, "emit", {"text": "x" * 200_000})
    with pytest.raises(EventsLost, match=r"events of trace 't' could not be written.*full"):
        await store.load_history("t")

    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    await store.save_event("t", 2.0, "emit", {})
    assert (await store.record_step(lease, Step(message_id="after", node_name="a"))).first
    assert [event["ts"] for event in await store.load_history("t")] == [2.0]
    await store.close()


async def test_a_file_that_another_process_holds_too_long_is_an_error_then(
    open_store: OpenStore, start_of: StartOf, tmp_path: Path
) -> None:
    store = open_store(busy_timeout_s=0.05)
    lease = await store.open_trace(start_of(), owner="o", lease_s=60)
    blocker = sqlite3.connect(tmp_path / "traces.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another process holds it too long"):
        await store.record_step(lease, Step(message_id="m", node_name="a"))

    blocker.execute("ROLLBACK")
    blocker.close()
    assert (await store.record_step(lease, Step(message_id="m", node_name="a"))).first


async def test_lost_events_are_told_of_at_the_close_at_the_latest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqliteStateStore(tmp_path / "traces.db", busy_timeout_s=0.05)
    await store.open()
    blocker = sqlite3.connect(tmp_path / "traces.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    await store.save_event("t", 1.0, "emit", {})
    with pytest.raises(EventsLost, match="events of 1 traces could not be written"):
        await store.close()

    blocker.close()
    assert "1 events could not be written" in caplog.text


async def test_several_processes_write_to_one_file(
    open_store: OpenStore, start_process: StartProcess, tmp_path: Path
) -> None:
    processes = [start_process(SCRIPTS / "record.py", tmp_path / "traces.db", f"p{n}-", 4, 50) for n in range(3)]
    ends = await asyncio.gather(*(asyncio.to_thread(process.communicate) for process in processes))

    assert [errors for _, errors in ends] == [""] * 3
    records = await open_store().list_traces()
    assert {record.steps for record in records} == {50}
    assert len(records) == 12


async def test_a_folder_that_is_not_there_is_named(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path / "nowhere" / "traces.db")
    with pytest.raises(StoreUnavailable, match=r"nowhere/traces\.db: unable to open.*check the folder"):
        await store.open()

    (tmp_path / "nowhere").mkdir()
    await store.open()
