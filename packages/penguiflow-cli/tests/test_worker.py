"""`pf worker` as a process: it runs until a signal comes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

Pf = Any

STUBBORN = """
    import asyncio
    from penguiflow import create, Node


    async def rest(message, ctx):
        return message


    flow = create(Node(rest), name="stubborn")


    async def stop(*, drain=True, timeout_s=None):
        if drain:
            print("draining", flush=True)
            await asyncio.Event().wait()


    flow.stop = stop
"""


class Worker:
    """A worker in a process of its own."""

    def __init__(self, directory: Path, target: str, *options: str) -> None:
        plugin = str(Path(__file__).parent / "plugin")
        environment = os.environ | {"PENGUIFLOW_STATE": "shelf://here", "PYTHONPATH": plugin}
        command = [sys.executable, "-c", "from penguiflow_cli import main; main()", "worker", target, *options]
        self.process = subprocess.Popen(
            command, cwd=directory, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def end(self) -> int:
        return self.process.wait(timeout=20)


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    started: list[Worker] = []
    yield started
    for worker in started:
        worker.process.kill()
        worker.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish_and_end_well(
    pf: Pf, module: str, tmp_path: Path, workers: list[Worker], number: signal.Signals
) -> None:
    worker = Worker(tmp_path, f"{module}:flow")
    workers.append(worker)
    assert worker.line() == "pf worker runs double, add of flow 'arithmetic', version 1\n"

    worker.process.send_signal(number)

    assert "finishes what it has" in worker.line()
    assert worker.end() == 0


def test_a_second_signal_stops_it_at_once(pf: Pf, tmp_path: Path, workers: list[Worker]) -> None:
    (tmp_path / "stubborn.py").write_text(dedent(STUBBORN), encoding="utf-8")
    worker = Worker(tmp_path, "stubborn:flow")
    workers.append(worker)
    assert "runs rest" in worker.line()
    worker.process.send_signal(signal.SIGTERM)
    assert "finishes what it has" in worker.line()
    assert worker.process.stdout is not None
    assert worker.process.stdout.readline() == "draining\n"

    worker.process.send_signal(signal.SIGTERM)

    assert "stops at once" in worker.line()


def test_a_node_that_the_flow_lacks_is_refused_with_the_nearest(pf: Pf, module: str) -> None:
    told = pf("worker", f"{module}:flow", "--nodes", "doubel", status=2).stderr

    assert "has no node 'doubel' (it has double, add); did you mean double" in told
    assert "names none" in pf("worker", f"{module}:flow", "--nodes", " , ", status=2).stderr


def test_nodes_elsewhere_need_a_bus(pf: Pf, module: str) -> None:
    told = pf("worker", f"{module}:flow", "--nodes", "double", status=2, PENGUIFLOW_BUS="").stderr

    assert "bus" in told
