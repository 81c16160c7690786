"""What the tests of the stores share: traces to write into, and processes to kill."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from penguiflow.state import TraceStart
from penguiflow_state import SqliteStateStore

OpenStore = Callable[..., SqliteStateStore]
StartProcess = Callable[..., subprocess.Popen[str]]


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[OpenStore]:
    """Return what makes a store on the file of the test; each call makes another handle on it."""
    async with AsyncExitStack() as stack:

        def make(path: Path = tmp_path / "traces.db", **options: Any) -> SqliteStateStore:
            store = SqliteStateStore(path, **options)
            stack.push_async_callback(store.close)
            return store

        yield make


@pytest.fixture
def start_process() -> Iterator[StartProcess]:
    """Return what runs a script in a Python of its own; what still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(script: Path, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", str(script), *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def start_of() -> Callable[..., TraceStart]:
    """Return what makes the start of a trace with one message outstanding."""

    def make(trace_id: str = "t", *, message: Any = None) -> TraceStart:
        graph = {"a": ("b",), "b": ()}
        return TraceStart(trace_id=trace_id, flow="f", version="1", graph=graph, message=message, entries=("a",))

    return make
