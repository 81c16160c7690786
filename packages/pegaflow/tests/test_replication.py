"""One process follows the engine of another."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, Listener
from pathlib import Path

import pytest

import pegaflow
from pegaflow import Change, PegaEngine

MIB = 1 << 20


LEADER = """
import sys
from multiprocessing.connection import Client
from pegaflow import PegaEngine

with Client(sys.argv[2]) as pipe, PegaEngine(sys.argv[1], memory_bytes=1 << 20, disk_bytes=16 << 20) as engine:
    for round_ in range(4):
        for i in range(200):
            engine.put(str(i % 50), f"{round_} {i}".encode())
            engine.remove(str(i * 7 % 50))
        with engine.transaction() as tx:
            tx.put("balance/a", str(round_).encode())
            tx.put("balance/b", str(-round_).encode())
        pipe.send(engine.last_seq)
        subscription = engine.subscribe(pipe.recv())
        while (change := subscription.poll(0)) is not None:
            pipe.send(change)
        pipe.send(None)
    pipe.send({key: engine.get(key) for key in engine.scan()})
"""
"""Makes changes and sends them over a socket, in rounds."""


@contextmanager
def leader(directory: Path) -> Iterator[Connection]:
    address = str(directory / "changes.sock")
    with Listener(address) as listener:
        command = [sys.executable, "-c", LEADER, str(directory / "leader"), address]
        with subprocess.Popen(command) as process, listener.accept() as pipe:
            yield pipe
        assert process.returncode == 0


def apply(engine: PegaEngine, changes: Iterator[Change | None]) -> None:
    batch: list[Change] = []
    for change in changes:
        if change is None:
            return
        batch.append(change)
        if not change.more:
            engine.apply(batch)
            batch = []


def test_a_follower_in_another_process_catches_up_after_breaks(tmp_path: Path) -> None:
    follower_path = tmp_path / "follower"
    with leader(tmp_path) as pipe:
        for _ in range(4):
            newest = pipe.recv()
            # Closed and opened between the rounds: where it stands is kept with what it holds.
            with PegaEngine(follower_path, memory_bytes=MIB, disk_bytes=16 * MIB) as follower:
                pipe.send(follower.applied_seq + 1)
                apply(follower, iter(pipe.recv, object()))
                assert follower.applied_seq == newest
        with PegaEngine(follower_path, memory_bytes=MIB, disk_bytes=16 * MIB) as follower:
            assert {key: follower.get(key) for key in follower.scan()} == pipe.recv()


def test_past_what_is_kept_a_snapshot_is_needed() -> None:
    leader = PegaEngine(memory_bytes=MIB, feed_bytes=1000)
    follower = PegaEngine(memory_bytes=MIB)
    follower.put("stale", b"1")
    subscription = leader.subscribe()
    leader.put_many((str(i), b"value") for i in range(100))
    with pytest.raises(pegaflow.SnapshotNeeded) as caught:
        subscription.poll(0)
    assert caught.value.context["first_seq"] > caught.value.context["from_seq"]  # type: ignore[operator]
    snapshot = leader.snapshot()
    leader.put("meanwhile", b"2")
    follower.restore(snapshot, snapshot.seq)
    subscription = leader.subscribe(snapshot.seq + 1)
    follower.apply(list(iter(lambda: subscription.poll(0), None)))
    assert follower.scan() == leader.scan()


def test_a_snapshot_that_fails_midway_does_not_count() -> None:
    def broken() -> Iterator[Change]:
        yield Change(1, b"key", b"value")
        raise ZeroDivisionError

    follower = PegaEngine(memory_bytes=MIB)
    with pytest.raises(ZeroDivisionError):
        follower.restore(broken(), 7)
    assert follower.applied_seq == 0


def test_a_change_survives_the_way_between_processes() -> None:
    for change in (Change(3, b"key", b"value", 99, more=True), Change(4, b"key")):
        again = pickle.loads(pickle.dumps(change))
        assert again == change
        assert repr(again) == repr(change)
    assert Change(3, b"key") != Change(4, b"key")
