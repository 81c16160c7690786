"""What the tests of the stores share: stores, traces to write into, processes to kill, and a proxy that cuts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from servers import PostgresServer

from penguiflow.state import TraceStart
from penguiflow_state import SqliteStateStore

if TYPE_CHECKING:
    from penguiflow_state.postgres import PostgresStateStore

OpenStore = Callable[..., SqliteStateStore]
OpenPostgres = Callable[..., "PostgresStateStore"]
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


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """Return a server that no other module uses."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
async def open_postgres() -> AsyncIterator[OpenPostgres]:
    """Return what makes a store in a schema of the test; each call makes another handle on it."""
    # Tests of the package without its extra use the other fixtures of this file.
    from penguiflow_state.postgres import PostgresStateStore

    schema = f"test_{uuid.uuid4().hex}"
    async with AsyncExitStack() as stack:

        def make(dsn: str, **options: Any) -> PostgresStateStore:
            store = PostgresStateStore(dsn, **{"schema": schema, **options})
            stack.push_async_callback(store.close)
            return store

        yield make


class Proxy:
    """Passes bytes on between clients and the server, and may cut a connection when the server answers."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.cuts_left = 0
        self.cuts = 0
        self.serving: set[asyncio.Task[None] | None] = set()

    @property
    def dsn(self) -> str:
        """How clients reach the server through it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        self.serving.add(asyncio.current_task())
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
        ways = [
            asyncio.ensure_future(self._pass_on(reader, there_writer, cuts=False)),
            asyncio.ensure_future(self._pass_on(there_reader, writer, cuts=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (there_writer, writer):
                end.close()
            await asyncio.gather(there_writer.wait_closed(), writer.wait_closed(), return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cuts: bool) -> None:
        while data := await reader.read(65536):
            # The answer to a group begins with its row; what the server says at the start of a connection does not.
            if cuts and self.cuts_left and b"write_group_1" in data:
                self.cuts_left -= 1
                self.cuts += 1
                return
            writer.write(data)
            await writer.drain()


@pytest.fixture
def run_proxy() -> Callable[[PostgresServer], Awaitable[Any]]:
    """Return what runs a proxy to a server."""

    @asynccontextmanager
    async def run(server: PostgresServer) -> AsyncIterator[Proxy]:
        proxy = Proxy(server.port)
        listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        proxy.port = listening.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            listening.close()
            # The store of the test is closed by now, so all of them are about to end.
            await asyncio.wait([task for task in proxy.serving if task is not None], timeout=5)

    return run  # type: ignore[return-value]
