"""Workers as processes, on a real Redis and a real Postgres."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from servers import PostgresServer, RedisServer

PROGRAM = Path(__file__).with_name("shop.py")
START_S = 30.0


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shop", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module
    spec.loader.exec_module(module)
    return module


class Worker:
    """One worker process; killed, stopped and started again by the tests."""

    def __init__(self, nodes: str, where: list[str]) -> None:
        self.nodes = nodes
        self._command = [sys.executable, str(PROGRAM), "--nodes", nodes, *where]
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it takes messages."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_S)
        assert ready, f"worker {self.nodes} did not start"
        assert self._process.stdout.readline() == "ready\n"

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def drain(self) -> int:
        """Ask it to end, and return its exit status."""
        assert self._process is not None
        self.send(signal.SIGTERM)
        status = self._process.wait(START_S)
        self.kill()
        return status


class Shop:
    """The flow, its servers, and the workers that run it."""

    def __init__(self, redis: RedisServer, postgres: PostgresServer, folder: Path, schema: str) -> None:
        self.module: Any = _load()
        self.redis, self.postgres = redis, postgres
        self.ledger_path = folder / "ledger"
        self.ledger_path.touch()
        self.schema = schema
        self.workers: list[Worker] = []

    def worker(self, nodes: str, *, pause_s: float = 0.02) -> Worker:
        """Start a worker with the nodes of one side."""
        where = ["--bus", self.redis.url, "--state", self.postgres.dsn, "--ledger", str(self.ledger_path)]
        worker = Worker(nodes, [*where, "--pause", str(pause_s)])
        self.workers.append(worker)
        worker.start()
        return worker

    @contextlib.asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[tuple[Any, Any, Any]]:
        """Give a flow that runs no node, its store and its bus."""
        from penguiflow_state.postgres import PostgresStateStore

        async with PostgresStateStore(self.postgres.dsn) as store, self.module.open_bus(self.redis.url) as bus:
            flow = self.module.build(self.module.Ledger(self.ledger_path), **options)
            async with flow.run(nodes=set(), state_store=store, message_bus=bus, lease_s=self.module.LEASE_S):
                yield flow, store, bus

    def effects(self, what: str = "ran") -> Counter[tuple[str, str]]:
        """Return how often each node had its effect for each key."""
        lines = (line.split() for line in self.ledger_path.read_text().splitlines())
        return Counter((line[1], line[2]) for line in lines if line[0] == what)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()


@pytest.fixture
def shop(redis_server: RedisServer, postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Shop]:
    """Return the shop with empty servers and no workers."""
    redis_server.command("FLUSHALL")
    shop = Shop(redis_server, postgres_server, tmp_path, "penguiflow")
    try:
        yield shop
    finally:
        shop.close()
