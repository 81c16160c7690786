"""`pf` against a real Redis, a real Postgres and SQLite: workers, their traces, and what is stuck when they die."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from uuid import uuid4

import pytest
from servers import PostgresServer, RedisServer

DEADLINE_S = 40.0
pytestmark = pytest.mark.timeout(120)

FLOW = """
    import asyncio
    import os
    from pathlib import Path

    from penguiflow import Context, Node, create

    HERE = Path(os.environ["SHOP"])


    async def look(text: str, ctx: Context) -> str:
        await ctx.emit_chunk(text="looking", done=True)
        return f"{text} looked"


    async def pack(text: str, ctx: Context) -> str:
        with (HERE / "began").open("a") as log:
            log.write(f"{os.getpid()}\\n")
        while text.startswith("slow") and not (HERE / "go").exists():
            await asyncio.sleep(0.02)
        return f"{text} packed"


    flow = create(Node(look).to(Node(pack)), name=os.environ["SHOP_NAME"])
"""


class Shop:
    """A directory with a flow, and `pf` processes in it."""

    def __init__(self, directory: Path, state: str, bus: str) -> None:
        self.directory = directory
        self.name = f"shop-{uuid4().hex[:8]}"
        self.environment = os.environ | {
            "PENGUIFLOW_STATE": state,
            "PENGUIFLOW_BUS": bus,
            "SHOP": str(directory),
            "SHOP_NAME": self.name,
        }
        self.started: list[subprocess.Popen[str]] = []
        (directory / "counter.py").write_text(dedent(FLOW), encoding="utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command."""
        code = "from penguiflow_cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def pf(self, *arguments: str, status: int = 0) -> str:
        """Run a command to its end, and return what it wrote."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == status, f"{stdout}\n{stderr}"
        return stdout

    def worker(self, nodes: str) -> subprocess.Popen[str]:
        """Start a worker, and return once it takes messages."""
        process = self.start("worker", "counter:flow", "--nodes", nodes, "--lease", "2s")
        assert "runs" in self.line_of(process)
        return process

    def line_of(self, process: subprocess.Popen[str]) -> str:
        """Return the next line that a process writes to its standard error."""
        assert process.stderr is not None
        ready, _, _ = select.select([process.stderr], [], [], DEADLINE_S)
        assert ready, "nothing was written"
        return process.stderr.readline()

    def wait_for(self, condition: Callable[[], bool], rule: str) -> None:
        """Wait until something has happened."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, rule
            time.sleep(0.02)

    def began(self) -> list[str]:
        log = self.directory / "began"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def go(self) -> None:
        (self.directory / "go").touch()


@pytest.fixture
def shop(tmp_path: Path, redis_server: RedisServer, postgres_server: PostgresServer) -> Iterator[Shop]:
    shop = Shop(tmp_path, postgres_server.dsn, f"{redis_server.url}?lease_s=2")
    yield shop
    close(shop)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Shop]:
    """Return the shop of one process, on SQLite."""
    shop = Shop(tmp_path, "sqlite:///shop.db", "")
    yield shop
    close(shop)


def close(shop: Shop) -> None:
    for process in shop.started:
        process.kill()
        process.communicate()


def test_two_workers_share_a_flow_and_one_history(shop: Shop) -> None:
    shop.worker("look")
    shop.worker("pack")

    assert shop.pf("run", "counter:flow", "--text", "fish", "--trace-id", f"{shop.name}-1", "--on-workers").endswith(
        '"fish looked packed"\n'
    )

    shown = shop.pf("inspect", f"{shop.name}-1")
    assert "state     completed" in shown
    assert "look\trun" in shown
    assert "pack\trun" in shown
    listed = [json.loads(line) for line in shop.pf("traces", "--flow", shop.name, "--json").splitlines()]
    assert [(record["trace_id"], record["state"]) for record in listed] == [(f"{shop.name}-1", "completed")]
    assert shop.pf("doctor", "--flow", shop.name) == "nothing is stuck\n"


def test_a_worker_finishes_what_it_has_when_it_is_asked_to_stop(shop: Shop) -> None:
    worker = shop.worker("look,pack")
    asking = shop.start("run", "counter:flow", "--text", "slow fish", "--on-workers")
    shop.wait_for(lambda: bool(shop.began()), "the node begins")

    worker.send_signal(signal.SIGTERM)
    assert "finishes what it has" in shop.line_of(worker)
    shop.go()

    assert worker.wait(DEADLINE_S) == 0
    assert asking.communicate(timeout=DEADLINE_S)[0].endswith('"slow fish looked packed"\n')


def test_a_second_signal_stops_a_worker_at_once_and_another_goes_on(shop: Shop) -> None:
    worker = shop.worker("look,pack")
    asking = shop.start("run", "counter:flow", "--text", "slow fish", "--on-workers")
    shop.wait_for(lambda: bool(shop.began()), "the node begins")
    worker.send_signal(signal.SIGTERM)
    assert "finishes what it has" in shop.line_of(worker)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(DEADLINE_S) == 128 + signal.SIGTERM

    shop.go()
    shop.worker("look,pack")

    assert asking.communicate(timeout=DEADLINE_S)[0].endswith('"slow fish looked packed"\n')
    assert len(shop.began()) == 2, "the node that was interrupted ran again"


def test_a_trace_is_cancelled_wherever_it_runs(shop: Shop) -> None:
    shop.worker("look,pack")
    asking = shop.start("run", "counter:flow", "--text", "slow fish", "--trace-id", f"{shop.name}-1", "--on-workers")
    shop.wait_for(lambda: bool(shop.began()), "the node begins")

    assert "cancelled" in shop.pf("cancel", f"{shop.name}-1")

    assert "TRACE_CANCELLED" in asking.communicate(timeout=DEADLINE_S)[1]
    assert asking.returncode == 1
    assert "state     cancelled" in shop.pf("inspect", f"{shop.name}-1", status=1)


def test_the_doctor_tells_of_messages_that_no_worker_takes(shop: Shop) -> None:
    shop.worker("look")
    shop.start("run", "counter:flow", "--text", "fish", "--trace-id", f"{shop.name}-1", "--on-workers")

    def findings() -> list[dict[str, str]]:
        process = shop.start("doctor", "--flow", shop.name, "--quiet", "1s", "--json")
        return [json.loads(line) for line in process.communicate(timeout=DEADLINE_S)[0].splitlines()]

    shop.wait_for(
        lambda: ("stuck", "messages_unclaimed") in [(f["severity"], f["code"]) for f in findings()],
        "a message for a node that nobody runs is stuck",
    )


def test_a_trace_of_a_killed_process_is_found_and_resumed(alone: Shop) -> None:
    asking = alone.start("run", "counter:flow", "--text", "slow fish", "--trace-id", f"{alone.name}-1")
    alone.wait_for(lambda: bool(alone.began()), "the node begins")
    asking.kill()
    asking.wait(DEADLINE_S)
    alone.go()

    assert "running" in alone.pf("traces")
    resumed = alone.pf("resume", "counter:flow", f"{alone.name}-1", "--force")

    assert resumed == '"slow fish looked packed"\n', "what is recorded does not run again, so no chunk comes"
    assert len(alone.began()) == 2
    assert alone.pf("doctor") == "nothing is stuck\n"


def test_a_worker_takes_up_what_a_killed_process_left(alone: Shop) -> None:
    asking = alone.start("run", "counter:flow", "--text", "slow fish", "--trace-id", f"{alone.name}-1")
    alone.wait_for(lambda: bool(alone.began()), "the node begins")
    asking.kill()
    asking.wait(DEADLINE_S)
    alone.go()

    alone.worker("look,pack")

    following = alone.pf("tail", f"{alone.name}-1", "--from-start", "--kind", "node_end")
    assert [line.split()[3] for line in following.splitlines()][-1] == "pack"


def test_servers_that_are_not_there_are_not_available(alone: Shop) -> None:
    assert alone.pf("traces", "--state", "postgresql://127.0.0.1:9/nowhere?connect_timeout=2", status=4) == ""
    assert alone.pf("dlq", "list", "--bus", "redis://127.0.0.1:9", status=4) == ""
    assert alone.pf("dlq", "list", "--bus", "redis://127.0.0.1:9?lease_s=soon", status=2) == ""
