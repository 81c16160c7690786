"""What ends a trace ends its task at the agent, whatever moment it comes at."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from scripted import HASTY, Answer, Scripted, Talk, card, fails, returns, sent, serving, status, streams, task, text

from penguiflow import FlowError, Message, NodePolicy, PenguiFlow, RemoteNode, Trace, TraceCancelled, create
from penguiflow.metrics import FlowEvent
from penguiflow_a2a import A2AClientTransport, A2ATimeouts, AgentRefused

STREAM, SEND, GET, CANCEL = "SendStreamingMessage", "SendMessage", "GetTask", "CancelTask"
CANCELLED = returns(task("CANCELED"))
WORKING = {"task": task("WORKING")}


class Pause:
    """Answers as another answer does, once the test lets it; tells when it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, talk: Talk) -> None:
        self.reached.set()
        await self.go_on.wait()
        await self.answer(talk)


@asynccontextmanager
async def running(
    agent: Scripted, timeouts: A2ATimeouts = HASTY, **options: Any
) -> AsyncIterator[tuple[PenguiFlow, Trace]]:
    """Run a flow of one remote node, and submit a message to it."""
    events: list[FlowEvent] = []
    async with A2AClientTransport(base_url=agent.url, timeouts=timeouts) as transport:
        node = RemoteNode("far", transport=transport, skill="s", agent_url=agent.url, **options)
        async with create(node, on_event=events.append) as flow:
            yield flow, await flow.submit("penguins")


async def first_chunk(trace: Trace) -> None:
    assert (await anext(trace.chunks())).text == "a"


async def by_cancel(flow: PenguiFlow, trace: Trace) -> None:
    await trace.cancel()


async def by_stop(flow: PenguiFlow, trace: Trace) -> None:
    await flow.stop(drain=False)


@pytest.mark.parametrize("end", [by_cancel, by_stop])
async def test_a_stream_that_runs_is_cancelled(end: Callable[..., Any]) -> None:
    answers = {STREAM: streams(WORKING, text("a"), ends=False), CANCEL: CANCELLED}
    async with serving(answers) as agent, running(agent) as (flow, trace):
        await first_chunk(trace)
        await end(flow, trace)
        with pytest.raises(FlowError):
            await trace.result()

    assert agent.names == [STREAM, CANCEL]
    assert agent.talks(CANCEL)[0].rpc["params"] == {"id": "task-1"}


@pytest.mark.parametrize("end", [by_cancel, by_stop])
async def test_a_task_that_is_asked_for_is_cancelled(end: Callable[..., Any]) -> None:
    asked = Pause(returns(task("WORKING")))
    answers = {SEND: returns(WORKING), GET: asked, CANCEL: CANCELLED}
    async with serving(answers, card(streaming=False)) as agent, running(agent) as (flow, trace):
        await asked.reached.wait()
        await end(flow, trace)

    assert agent.names == [SEND, GET, CANCEL]


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_task_that_is_named_only_after_the_cancellation_is_cancelled(streaming: bool) -> None:
    slow = Pause(streams(WORKING, ends=False) if streaming else returns(WORKING))
    answers = {STREAM: slow, SEND: slow, CANCEL: CANCELLED}
    async with serving(answers, card(streaming=streaming)) as agent, running(agent) as (_, trace):
        await slow.reached.wait()
        cancelling = asyncio.ensure_future(trace.cancel())
        await asyncio.sleep(0)
        slow.go_on.set()
        await cancelling

    assert agent.names == [STREAM if streaming else SEND, CANCEL]


async def test_an_agent_that_names_no_task_holds_up_the_cancellation_for_a_moment_only() -> None:
    slow = Pause(streams(WORKING))
    hasty = replace(HASTY, cancel_s=0.05)
    async with serving({STREAM: slow, CANCEL: CANCELLED}) as agent, running(agent, hasty) as (_, trace):
        await slow.reached.wait()
        await trace.cancel()
        with pytest.raises(TraceCancelled):
            await trace.result()

    assert agent.names == [STREAM]


async def test_a_call_that_is_cancelled_while_the_card_is_read_sends_nothing() -> None:
    slow = Pause(returns({}))
    async with serving({"GET /.well-known/agent-card.json": slow}) as agent, running(agent) as (_, trace):
        await slow.reached.wait()
        await trace.cancel()

    assert agent.names == []


async def test_a_task_that_ended_meanwhile_is_left_alone() -> None:
    slow = Pause(streams({"task": task("COMPLETED", "x")}))
    async with serving({STREAM: slow}) as agent, running(agent) as (_, trace):
        await slow.reached.wait()
        cancelling = asyncio.ensure_future(trace.cancel())
        await asyncio.sleep(0)
        slow.go_on.set()
        await cancelling

    assert agent.names == [STREAM]


async def test_a_stream_that_is_being_taken_up_again_is_cancelled() -> None:
    slow = Pause(streams(WORKING, ends=False))
    answers = {STREAM: streams(WORKING), "SubscribeToTask": slow, CANCEL: CANCELLED}
    async with serving(answers) as agent, running(agent) as (_, trace):
        await slow.reached.wait()
        await trace.cancel()

    assert agent.names == [STREAM, "SubscribeToTask", CANCEL]


async def test_a_node_that_times_out_cancels_its_task() -> None:
    policy = NodePolicy(timeout_s=0.2)
    answers = {STREAM: streams(WORKING, ends=False), CANCEL: CANCELLED}
    async with serving(answers) as agent, running(agent, policy=policy) as (_, trace):
        with pytest.raises(FlowError, match="timeout_s"):
            await trace.result()

    assert agent.names == [STREAM, CANCEL]


async def test_a_cancelled_send_cancels_its_task() -> None:
    asked = Pause(returns(task("WORKING")))
    answers = {SEND: returns(WORKING), GET: asked, CANCEL: CANCELLED}
    async with serving(answers, card(streaming=False)) as agent, A2AClientTransport(base_url=agent.url) as transport:
        sending = asyncio.ensure_future(transport.send(agent.url, {}, sent()))
        await asked.reached.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    assert agent.names == [SEND, GET, CANCEL]


async def test_a_reader_that_leaves_lets_go_of_the_connection_at_once() -> None:
    left = asyncio.Event()

    async def answer(talk: Talk) -> None:
        await streams(WORKING, status("WORKING", "a"), ends=False)(talk)
        left.set()

    async with serving({STREAM: answer}) as agent, A2AClientTransport(base_url=agent.url) as transport:
        parts = transport.stream(agent.url, {}, sent())
        await anext(parts)
        await parts.aclose()
        await left.wait()


@pytest.mark.parametrize("code", [-32001, -32002])
async def test_a_task_that_has_ended_or_is_not_known_is_no_error(code: int) -> None:
    async with serving({CANCEL: fails(code)}) as agent, A2AClientTransport(base_url=agent.url) as transport:
        await transport.cancel(agent.url, "task-1")


async def test_an_agent_that_cannot_cancel_says_so() -> None:
    async with serving({CANCEL: fails(-32004)}) as agent, A2AClientTransport(base_url=agent.url) as transport:
        with pytest.raises(AgentRefused, match="UNSUPPORTED_OPERATION"):
            await transport.cancel(agent.url, "task-1")


async def test_a_trace_id_is_usable_again_after_a_cancellation() -> None:
    begun = streams(WORKING, text("a"), ends=False)
    answers = {STREAM: [begun, streams({"task": task("COMPLETED", "x")})], CANCEL: CANCELLED}
    async with serving(answers) as agent, running(agent) as (flow, trace):
        await first_chunk(trace)
        await trace.cancel()
        again = await flow.submit(Message(payload="penguins", trace_id=trace.trace_id))
        assert (await again.result()).payload == "x"
