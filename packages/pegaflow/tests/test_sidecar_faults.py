"""Clients that are killed or stopped in the middle of what they do, beside others that go on."""

import os
import signal
from collections.abc import Callable
from random import Random
from subprocess import Popen
from threading import Thread
from time import sleep
from typing import Any

import pytest

import pegaflow

MIB = 1 << 20
KILLS = 200 if os.environ.get("PENGUIFLOW_TEST_SCALE") == "full" else 20

Serve = Callable[..., Any]

WRITER = """
import itertools
print("writing", flush=True)
for i in itertools.count():
    engine.put(f"shared-{i % 4}", bytes([i % 251]) * (8 << 20))
"""

HOLDER = """
engine.put("held", b"x" * (8 << 20))
view = engine.get_view("held")
print("holding", flush=True)
input()
"""


def assert_whole(engine: pegaflow.PegaEngine) -> int:
    """Check that every value shared by the writers is of one put, and give how many there are."""
    values = [value for i in range(4) if (value := engine.get(f"shared-{i}")) is not None]
    for value in values:
        assert len(value) == 8 * MIB
        assert value.count(value[:1]) == len(value)
    return len(values)


@pytest.mark.timeout(300)
def test_writers_killed_at_any_moment_leave_whole_values_and_no_reservation(serve: Serve) -> None:
    random = Random(1)
    server = serve("--memory", "128MiB")
    engine = server.connect()
    for _ in range(KILLS):
        writer = server.run_client(WRITER)
        sleep(random.uniform(0, 0.05))
        writer.kill()
        assert_whole(engine)
    server.await_figure("sidecar_reclaimed_reservations_total", at_least=KILLS // 2)
    # Nothing of the dead is left: nearly the whole arena can be one value.
    engine.put("large", bytes(120 * MIB))
    figures = engine.stats()
    assert figures["corruptions"] == 0
    print(f"kill -9 of {KILLS} writers: {figures['sidecar_reclaimed_reservations_total']} reservations reclaimed")


def test_what_a_killed_reader_held_is_free_at_once(serve: Serve) -> None:
    server = serve("--memory", "16MiB")
    engine = server.connect()
    holder = server.run_client(HOLDER)
    engine.remove("held")
    with pytest.raises(pegaflow.MemoryFullError):
        engine.put("large", bytes(12 * MIB))
    holder.kill()
    server.await_figure("sidecar_reclaimed_pins_total", at_least=1)
    engine.put("large", bytes(12 * MIB))


@pytest.mark.timeout(300)
def test_a_stopped_writer_keeps_its_reservation_and_holds_nobody_up(serve: Serve) -> None:
    random = Random(2)
    server = serve("--memory", "128MiB")
    engine = server.connect()
    writer = server.run_client(WRITER)
    for i in range(KILLS):
        sleep(random.uniform(0, 0.02))
        writer.process.send_signal(signal.SIGSTOP)
        engine.put(f"mine-{i}", bytes([i]) * MIB)
        assert engine.get(f"mine-{i}") == bytes([i]) * MIB
        assert_whole(engine)
        writer.process.send_signal(signal.SIGCONT)
    assert assert_whole(engine) == 4
    figures = engine.stats()
    assert (figures["sidecar_reclaimed_reservations_total"], figures["corruptions"]) == (0, 0)


def test_a_killed_parent_is_noticed_although_its_child_keeps_the_socket(serve: Serve) -> None:
    server = serve("--memory", "16MiB")
    parent = server.run_client("import os, sys\nif os.fork() == 0:\n    sys.exit(sys.stdin.read())\n" + HOLDER)
    parent.kill()
    server.await_figure("sidecar_reclaimed_pins_total", at_least=1)


def test_letting_go_of_a_lease_of_a_stopped_sidecar_leaves_other_threads_running(serve: Serve) -> None:
    server = serve("--memory", "4MiB")
    cache = pegaflow.BlockCache(server.connect(), "model", hash_bytes=16)
    cache.store([b"h" * 16], [bytes(4096)])
    leases = [cache.lease([b"h" * 16])]
    server.process.send_signal(signal.SIGSTOP)
    # A process of its own wakes the sidecar if no thread here can run.
    with Popen(["sh", "-c", f"sleep 10; kill -CONT {server.process.pid}"]) as rescuer:
        dropping = Thread(target=leases.clear)
        dropping.start()
        dropping.join(0.2)
        assert dropping.is_alive()
        assert rescuer.poll() is None, "nothing ran here until the sidecar went on"
        server.process.send_signal(signal.SIGCONT)
        dropping.join()
        rescuer.kill()
