"""A message is sent once, or again only where the agent surely did not act on it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from scripted import (
    HASTY,
    Answer,
    Scripted,
    Talk,
    card,
    collect,
    fails,
    returns,
    sent,
    serving,
    status,
    streams,
    task,
)

from penguiflow import FlowError, Message, NodePolicy, RemoteNode, create
from penguiflow_a2a import (
    A2AClientTransport,
    A2AError,
    AgentRefused,
    AgentTooSlow,
    AgentUnreachable,
    MessageInDoubt,
    TaskUnknown,
)

STREAM, SEND, GET, SUBSCRIBE = "SendStreamingMessage", "SendMessage", "GetTask", "SubscribeToTask"
DONE = streams({"task": task("COMPLETED", "x")})


@pytest.fixture
async def call() -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Call an agent by one transport for the whole test; every call is of the same message."""
    transports: dict[str, A2AClientTransport] = {}

    async def send(agent: Scripted, **options: Any) -> Any:
        options = {"timeouts": HASTY, **options}
        transport = transports.setdefault(agent.url, A2AClientTransport(base_url=agent.url, **options))
        return (await transport.send(agent.url, {}, sent()))["result"]

    yield send
    for transport in transports.values():
        await transport.aclose()


async def cut(talk: Talk) -> None:
    talk.cut()


async def cut_after_the_head(talk: Talk) -> None:
    await talk.stream()
    talk.cut()


async def hold(talk: Talk) -> None:
    await talk.gone()


def status_of(code: int, *headers: str) -> Answer:
    async def answer(talk: Talk) -> None:
        await talk.json({"message": "busy"}, *headers, status=code)

    return answer


@pytest.mark.parametrize("lose", [cut, cut_after_the_head])
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_message_whose_answer_is_lost_is_not_sent_again(lose: Answer, streaming: bool, call: Any) -> None:
    async with serving({STREAM: lose, SEND: lose}, card(streaming=streaming)) as agent:
        with pytest.raises(AgentUnreachable) as caught:
            await call(agent)
        with pytest.raises(MessageInDoubt, match="resend_in_doubt=True"):
            await call(agent)

    assert agent.names == [STREAM if streaming else SEND]
    assert (caught.value.sent, caught.value.code) == (True, "A2A_UNREACHABLE")


async def test_a_message_whose_answer_takes_too_long_is_not_sent_again(call: Any) -> None:
    async with serving({STREAM: hold}) as agent:
        with pytest.raises(AgentTooSlow, match="idle_s"):
            await call(agent, timeouts=replace(HASTY, idle_s=0.1))
        with pytest.raises(MessageInDoubt):
            await call(agent)

    assert agent.names == [STREAM]


async def test_a_message_in_doubt_is_sent_again_where_that_is_allowed(call: Any) -> None:
    async with serving({STREAM: [cut, DONE]}) as agent:
        with pytest.raises(AgentUnreachable):
            await call(agent, resend_in_doubt=True)
        assert await call(agent) == "x"

    first, second = (talk.rpc["params"]["message"] for talk in agent.talks(STREAM))
    assert first["messageId"] == second["messageId"]
    assert "repeated" not in first["metadata"]["penguiflow"]
    assert second["metadata"]["penguiflow"]["repeated"] is True


async def test_a_retry_of_a_node_does_not_send_twice_either() -> None:
    async with serving({STREAM: cut}) as agent, A2AClientTransport(base_url=agent.url, timeouts=HASTY) as transport:
        policy = NodePolicy(max_retries=3, backoff_base=0)
        node = RemoteNode("far", transport=transport, skill="s", agent_url=agent.url, policy=policy)
        async with create(node) as flow:
            with pytest.raises(MessageInDoubt):
                await flow.ask("penguins")

    assert agent.names == [STREAM]


async def test_a_retry_of_a_node_takes_up_the_task_that_is_known() -> None:
    begun = streams({"task": task("WORKING")}, status("WORKING"), ends=True)
    answers = {STREAM: begun, SUBSCRIBE: [cut] * 6 + [DONE], "CancelTask": fails(-32002)}
    async with serving(answers) as agent, A2AClientTransport(base_url=agent.url, timeouts=HASTY) as transport:
        policy = NodePolicy(max_retries=3, backoff_base=0)
        node = RemoteNode("far", transport=transport, skill="s", agent_url=agent.url, policy=policy)
        async with create(node) as flow:
            assert (await flow.ask(Message(payload="penguins"))).payload == "x"

    assert agent.names.count(STREAM) == 1


async def test_no_connection_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    async with serving({STREAM: DONE}) as agent, A2AClientTransport(base_url=url, timeouts=HASTY) as transport:
        given = card({"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"})
        calling = asyncio.ensure_future(transport.send(url, given, sent()))
        host, port = url.removeprefix("http://").split(":")
        server = await asyncio.start_server(agent.accept, host, int(port))
        answer = await calling
        server.close()

    assert answer["result"] == "x"
    assert agent.names == [STREAM]


async def test_an_agent_that_is_not_there_fails_the_call_and_leaves_no_doubt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    given = card({"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"})
    async with A2AClientTransport(base_url=url, timeouts=HASTY) as transport:
        for _ in range(2):
            with pytest.raises(AgentUnreachable, match="cannot connect") as caught:
                await transport.send(url, given, sent())
    assert caught.value.sent is False


@pytest.mark.parametrize("busy", [status_of(429), status_of(429, "Retry-After: 0"), status_of(503, "Retry-After: 0")])
async def test_an_agent_without_time_is_asked_again(busy: Answer, call: Any) -> None:
    async with serving({STREAM: [busy, busy, DONE]}) as agent:
        assert await call(agent) == "x"

    assert agent.names == [STREAM] * 3


async def test_an_agent_that_is_busy_for_long_fails_the_call(call: Any) -> None:
    async with serving({STREAM: status_of(429, "Retry-After: 3600")}) as agent:
        with pytest.raises(AgentRefused, match="busy") as caught:
            await call(agent)

    assert (caught.value.http_status, caught.value.retry_after_s, len(agent.names)) == (429, 3600, 1)


async def test_an_agent_that_stays_busy_fails_the_call_in_the_end(call: Any) -> None:
    async with serving({STREAM: status_of(429)}) as agent:
        with pytest.raises(AgentRefused):
            await call(agent)

    assert len(agent.names) == 1 + HASTY.retries


@pytest.mark.parametrize("code", [500, 502, 503, 504])
async def test_a_status_that_a_gateway_may_give_is_no_reason_to_send_again(code: int, call: Any) -> None:
    async with serving({STREAM: status_of(code)}) as agent:
        with pytest.raises(AgentRefused):
            await call(agent)
        with pytest.raises(MessageInDoubt):
            await call(agent)

    assert agent.names == [STREAM]


async def test_a_message_that_was_refused_may_be_sent_again(call: Any) -> None:
    async with serving({STREAM: [fails(-32602), DONE]}) as agent:
        with pytest.raises(AgentRefused, match="INVALID_PARAMS") as caught:
            await call(agent)
        assert await call(agent) == "x"

    assert (caught.value.rpc_code, caught.value.reason) == (-32602, "INVALID_PARAMS")


async def test_a_task_that_has_failed_may_be_asked_for_again() -> None:
    async with serving({STREAM: [streams({"task": task("FAILED")}), DONE]}) as agent:
        transport = A2AClientTransport(base_url=agent.url, timeouts=HASTY)
        node = RemoteNode(
            "far", transport=transport, skill="s", agent_url=agent.url, policy=NodePolicy(max_retries=1, backoff_base=0)
        )
        async with transport, create(node) as flow:
            assert await flow.ask("penguins") == "x"

    assert agent.names == [STREAM, STREAM]


async def test_a_task_that_the_agent_has_forgotten_is_sent_again(call: Any) -> None:
    begun = streams({"task": task("WORKING")})
    async with serving({STREAM: [begun, DONE], SUBSCRIBE: fails(-32001)}) as agent:
        with pytest.raises(TaskUnknown):
            await call(agent)
        assert await call(agent) == "x"

    assert agent.names == [STREAM, SUBSCRIBE, SUBSCRIBE, STREAM]


async def test_a_task_that_was_taken_up_leaves_no_doubt_behind(call: Any) -> None:
    begun = streams({"task": task("WORKING")})
    answers = {
        STREAM: [begun, DONE],
        SUBSCRIBE: [cut, cut, cut, streams({"task": task("COMPLETED", "old")}), fails(-32001)],
    }
    async with serving({**answers, GET: returns(task("COMPLETED", "old"))}) as agent:
        with pytest.raises(AgentUnreachable):
            await call(agent)
        assert await call(agent) == "old"
        assert await call(agent) == "x"

    assert agent.names.count(STREAM) == 2


async def test_questions_are_asked_again_after_any_loss(call: Any) -> None:
    answers = {SEND: returns({"task": task("SUBMITTED")}), GET: [cut, status_of(502), returns(task("COMPLETED", "x"))]}
    async with serving(answers, card(streaming=False)) as agent:
        assert await call(agent) == "x"

    assert agent.names == [SEND, GET, GET, GET]


async def test_a_question_that_is_never_answered_fails_the_call() -> None:
    async with serving({SEND: returns({"task": task("SUBMITTED")}), GET: hold}, card(streaming=False)) as agent:
        with pytest.raises(AgentTooSlow, match="request_s") as caught:
            await collect(agent, timeouts=replace(HASTY, request_s=0.05, retries=1))

    assert (caught.value.task_id, caught.value.limit, agent.names) == ("task-1", "request_s", [SEND, GET, GET])


async def test_every_error_is_a_flow_error_with_a_code_of_its_own() -> None:
    classes: list[type[A2AError]] = [*A2AError.__subclasses__(), TaskUnknown]

    codes = {each.CODE for each in classes}

    assert len(codes) == len(classes)
    assert issubclass(A2AError, FlowError)
    assert issubclass(TaskUnknown, LookupError)
