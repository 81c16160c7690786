"""Agents for the tests: flows behind the server, called in process or over a real connection."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from penguiflow import Context, Node, PenguiFlow, create
from penguiflow_a2a.server import A2AServer, InputRequired, create_a2a_app, describe

URL = "http://127.0.0.1:9"
DONE = "TASK_STATE_COMPLETED"


class Agent:
    """An agent under test."""

    def __init__(self, client: httpx.AsyncClient, server: A2AServer, gates: dict[str, asyncio.Event]) -> None:
        self.client = client
        self.server = server
        self.gates = gates
        """Events that the test flow waits for or sets, by name."""

    async def rpc(self, method: str, params: Any = None, **headers: str) -> dict[str, Any]:
        """Call a method and return the whole response."""
        response = await self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}, **headers)
        answer: dict[str, Any] = response.json()
        return answer

    async def post(self, body: Any, **headers: str) -> httpx.Response:
        """Post JSON to the agent's URL."""
        return await self.client.post("/", json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    async def send(self, text: str, *, now: bool = False, **message: Any) -> dict[str, Any]:
        """Send text and return the task."""
        params = {"message": a_message(text, **message), "configuration": {"returnImmediately": now}}
        answer = await self.rpc("SendMessage", params)
        assert "result" in answer, answer
        task: dict[str, Any] = answer["result"]["task"]
        return task

    async def get(self, task_id: str) -> dict[str, Any]:
        """Return a task."""
        task: dict[str, Any] = (await self.rpc("GetTask", {"id": task_id}))["result"]
        return task

    async def reaches(self, task_id: str, state: str) -> dict[str, Any]:
        """Return a task once it is in a state; only the test's time-out ends the wait."""
        while (task := await self.get(task_id))["status"]["state"] != state:  # noqa: ASYNC110  It is in the server.
            await asyncio.sleep(0.01)
        return task

    @asynccontextmanager
    async def stream(self, method: str, params: Any, **headers: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Open a stream, and give its events with their ids as `(id, result)`."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        sent = {k.replace("_", "-"): v for k, v in headers.items()}
        async with self.client.stream("POST", "/", json=body, headers=sent) as response:
            yield events_of(response)


async def events_of(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Give the events of a stream: what they hold, with their id under `id`."""
    number: str | None = None
    async for line in response.aiter_lines():
        if line.startswith("id: "):
            number = line[4:]
        elif line.startswith("data: "):
            yield {**json.loads(line[6:]), "id": number}


def a_message(text: str = "hello", **fields: Any) -> dict[str, Any]:
    """Return a message as version 1.0 writes it."""
    return {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}], **fields}


def make_flow(gates: dict[str, asyncio.Event]) -> PenguiFlow:
    """Return a flow that does what its text says."""

    def gate(name: str) -> asyncio.Event:
        return gates.setdefault(name, asyncio.Event())

    async def act(text: str, ctx: Context) -> Any:
        word, _, rest = text.partition(" ")
        if word == "fail":
            raise RuntimeError("the secret of the node")
        if word == "ask":
            return InputRequired("which one?")
        if word == "wait":
            gate(f"{rest} began").set()
            await gate(rest).wait()
        if word == "stream":
            for number in range(int(rest)):
                await ctx.emit_chunk("words", text=f"{number} ", done=number == int(rest) - 1)
            return None
        if word == "meta":
            return ctx.meta["a2a"]
        return f"did {text}"

    return create(Node(act, name="act").to(), name="actor")


@pytest.fixture
def flow_gates() -> dict[str, asyncio.Event]:
    return {}


Serve = Callable[..., Awaitable[Agent]]


@pytest.fixture
async def serve(flow_gates: dict[str, asyncio.Event]) -> AsyncIterator[Serve]:
    """Serve a flow in process: `await serve(flow=None, **options of create_a2a_app)`."""
    async with AsyncExitStack() as stack:

        async def start(flow: PenguiFlow | None = None, card: Any = None, **options: Any) -> Agent:
            flow = flow or make_flow(flow_gates)
            card = card or describe(flow, url=URL, push_notifications=True)
            app = create_a2a_app(flow, card=card, drain_s=0.2, **options)
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app)
            client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=URL))
            return Agent(client, app.state.a2a, flow_gates)

        yield start


@pytest.fixture
async def serve_for_real(flow_gates: dict[str, asyncio.Event]) -> AsyncIterator[Serve]:
    """Serve a flow over a real connection, so that streams flow and clients can leave."""
    async with AsyncExitStack() as stack:

        async def start(flow: PenguiFlow | None = None, **options: Any) -> Agent:
            flow = flow or make_flow(flow_gates)
            listener = socket.create_server(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            app = create_a2a_app(flow, card=describe(flow, url=url, push_notifications=True), drain_s=0.2, **options)
            await stack.enter_async_context(_running(app, listener))
            client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=20, trust_env=False))
            return Agent(client, app.state.a2a, flow_gates)

        yield start


@asynccontextmanager
async def _running(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(app, log_level="critical", lifespan="on", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it.
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await running
        listener.close()
