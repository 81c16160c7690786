"""Calls of our client to flows on our server: what is done once, and what is done anew."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from penguiflow import Context, InMemoryStateStore, Message, Node, NodePolicy, PenguiFlow, RemoteNode, create
from penguiflow.errors import TraceCancelled
from penguiflow_a2a import A2AClientTransport, A2ATimeouts, AgentUnreachable

Serve = Callable[..., Any]
HASTY = A2ATimeouts(backoff_s=0.01)


class Worker:
    """A node of the agent: does what its message says, and counts how often it was called."""

    def __init__(self) -> None:
        self.calls = 0
        self.reached = asyncio.Event()

    async def __call__(self, text: str, ctx: Context) -> str:
        self.calls += 1
        self.reached.set()
        if text == "fail once" and self.calls == 1:
            raise RuntimeError("not now")
        if text == "wait once" and self.calls == 1:
            await asyncio.Event().wait()
        return f"answer {self.calls}"


@asynccontextmanager
async def calling(serve: Serve, worker: Worker, **options: Any) -> AsyncIterator[PenguiFlow]:
    """Serve the worker, and run a flow that calls it."""
    agent = await serve(create(Node(worker, name="work").to(), name="agent"))
    url = str(agent.client.base_url).rstrip("/")
    async with A2AClientTransport(base_url=url, timeouts=HASTY) as transport:
        node = RemoteNode("far", transport=transport, skill="s", agent_url=url, **options)
        async with create(node, state_store=InMemoryStateStore()) as flow:
            yield flow


async def test_a_retry_after_a_failure_is_a_new_task(serve_for_real: Serve) -> None:
    worker = Worker()
    policy = NodePolicy(max_retries=1, backoff_base=0)
    async with calling(serve_for_real, worker, policy=policy) as flow:
        assert await flow.ask("fail once") == "answer 2"


async def test_a_trace_id_that_is_used_again_is_a_new_task(serve_for_real: Serve) -> None:
    async with calling(serve_for_real, Worker()) as flow:
        for number in (1, 2, 3):
            assert (await flow.ask(Message(payload="again", trace_id="t"))).payload == f"answer {number}"


async def test_a_trace_id_that_was_cancelled_is_usable_at_once(serve_for_real: Serve) -> None:
    worker = Worker()
    async with calling(serve_for_real, worker) as flow:
        trace = await flow.submit(Message(payload="wait once", trace_id="t"))
        await worker.reached.wait()
        await trace.cancel()
        with pytest.raises(TraceCancelled):
            await trace.result()
        assert (await flow.ask(Message(payload="wait once", trace_id="t"))).payload == "answer 2"


class CutsAnswers(httpx.AsyncBaseTransport):
    """A network that loses the first answer to a message, after the agent has got it."""

    def __init__(self) -> None:
        self.inner = httpx.AsyncHTTPTransport()
        self.lost = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        if request.method == "POST" and not self.lost:
            self.lost += 1
            await response.aclose()
            raise httpx.ReadError("the network lost it", request=request)
        return response


async def test_a_message_in_doubt_that_is_sent_again_is_one_task(serve_for_real: Serve) -> None:
    worker = Worker()
    agent = await serve_for_real(create(Node(worker, name="work").to(), name="agent"))
    url = str(agent.client.base_url).rstrip("/")
    policy = NodePolicy(max_retries=1, backoff_base=0)
    async with httpx.AsyncClient(transport=CutsAnswers()) as client:
        transport = A2AClientTransport(base_url=url, timeouts=HASTY, client=client, resend_in_doubt=True)
        node = RemoteNode("far", transport=transport, skill="s", agent_url=url, policy=policy)
        async with create(node) as flow:
            assert await flow.ask("x") == "answer 1"
    assert worker.calls == 1


async def test_a_message_in_doubt_is_not_sent_again_unasked(serve_for_real: Serve) -> None:
    worker = Worker()
    agent = await serve_for_real(create(Node(worker, name="work").to(), name="agent"))
    url = str(agent.client.base_url).rstrip("/")
    async with httpx.AsyncClient(transport=CutsAnswers()) as client:
        transport = A2AClientTransport(base_url=url, timeouts=HASTY, client=client)
        async with create(RemoteNode("far", transport=transport, skill="s", agent_url=url)) as flow:
            with pytest.raises(AgentUnreachable):
                await flow.ask("x")
