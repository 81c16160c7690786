"""What a flow tells of its remote calls: in events, in logs, in sums."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguiflow import Message, NodePolicy, RemoteFailed, RemoteNode, RemoteTimings, create, log_flow_events
from penguiflow.metrics import FlowEvent

URL = "https://agent.example"
DONE = {"result": "found", "context_id": "ctx-1", "task_id": "task-1", "state": "completed"}


class Agent:
    """Answers, fails or never answers, as its message says."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def send(self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        if message["payload"] == "fail":
            return {**DONE, "state": "failed"}
        return DONE

    async def stream(
        self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        yield {"kind": "status", "state": "working", "task_id": "task-1"}
        self.reached.set()
        await asyncio.Event().wait()

    async def cancel(self, agent_url: str, task_id: str) -> None:
        if task_id != "task-1":
            raise LookupError(task_id)


async def test_calls_errors_bytes_and_latency_are_added_up() -> None:
    timings = RemoteTimings()
    node = RemoteNode("far", transport=Agent(), skill="s", agent_url=URL, policy=NodePolicy())
    async with create(node, middlewares=[timings]) as flow:
        for payload in ("one", "two"):
            await flow.ask(payload)
        with pytest.raises(RemoteFailed):
            await flow.ask("fail")

    (far,) = timings.timings()
    assert (far.node_name, far.agent_url, far.ended, far.failed) == ("far", URL, 2, 1)
    assert far.errors == {"REMOTE_FAILED": 1}
    assert far.bytes_sent > 3 * 50 < far.bytes_received
    assert 0 < far.longest_ms <= far.total_ms
    assert (far.cancelled, far.cancel_failed) == (0, 0)


async def test_the_latency_of_cancellations_is_added_up() -> None:
    timings, agent = RemoteTimings(), Agent()
    node = RemoteNode("far", transport=agent, skill="s", agent_url=URL, streaming=True)
    async with create(node, middlewares=[timings]) as flow:
        trace = await flow.submit("one")
        await agent.reached.wait()
        await trace.cancel()

    (far,) = timings.timings()
    assert far.errors == {"TRACE_CANCELLED": 1}
    assert (far.cancelled, far.cancel_failed) == (1, 0)
    assert 0 < far.cancel_longest_ms <= far.cancel_total_ms


def test_a_cancellation_that_is_not_confirmed_and_a_call_that_is_taken_up_are_counted() -> None:
    timings = RemoteTimings()
    extra = {"agent_url": URL, "code": "X", "remote_cancelled": False, "cancel_latency_ms": 3.0}

    timings(FlowEvent("core.remote_resumed", 0.0, "t", "far", extra=extra))
    timings(FlowEvent("remote_call_error", 0.0, "t", "far", extra=extra))
    timings(FlowEvent("node_end", 0.0, "t", "near"))

    (far,) = timings.timings()
    assert (far.resumed, far.cancelled, far.cancel_failed, far.cancel_total_ms) == (1, 1, 1, 3.0)


async def test_the_log_shows_the_remote_ids_beside_the_trace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="penguiflow.events")
    node = RemoteNode("far", transport=Agent(), skill="s", agent_url=URL)
    async with create(node, middlewares=[log_flow_events()]) as flow:
        await flow.ask(Message(payload="one", trace_id="t-1"))

    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("remote_call_end")]
    assert "trace=t-1 node=far" in line
    assert "context_id=ctx-1 task_id=task-1" in line
