"""Calls of agents that answer as they should: what is sent, and what is made of the answer."""

import time
from typing import Any

import httpx
import pytest
from scripted import (
    CARD_03,
    HASTY,
    Scripted,
    Talk,
    at,
    card,
    chunks,
    collect,
    fails,
    returns,
    sent,
    serving,
    status,
    streams,
    task,
    text,
)

from penguiflow import FlowDefinitionError, Message, RemoteNode, create
from penguiflow_a2a import A2AClientTransport, AgentMisbehaved

STREAM, SEND, GET = "SendStreamingMessage", "SendMessage", "GetTask"
REST = {"url": "/rest", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"}


async def test_a_stream_becomes_chunks_in_order_and_a_result() -> None:
    answer = streams({"task": task("SUBMITTED")}, status("WORKING"), text("one "), text("two"), status("COMPLETED"))
    async with serving({STREAM: answer}) as agent:
        parts = await collect(agent)

    assert [part["kind"] for part in parts] == ["status", "status", "chunk", "chunk", "chunk", "result"]
    assert chunks(parts) == ["one ", "two"]
    assert (parts[-2]["text"], parts[-2]["done"]) == ("", True)
    assert parts[-1] == {
        "kind": "result",
        "result": "one two",
        "context_id": "ctx-1",
        "task_id": "task-1",
        "state": "completed",
    }
    assert {part["task_id"] for part in parts} == {"task-1"}


async def test_the_message_names_skill_trace_and_deadline_and_nothing_that_is_private() -> None:
    deadline_s = time.time() + 60
    async with serving({STREAM: streams({"task": task("COMPLETED", "x")})}) as agent:
        await collect(agent, sent(meta={"secret": 1}, deadline_s=deadline_s))

    (talk,) = agent.talks(STREAM)
    message = talk.rpc["params"]["message"]
    assert message["metadata"] == {"skill": "find", "penguiflow": {"traceId": "t", "deadline": deadline_s}}
    assert (message["messageId"], message["role"], message["parts"]) == ("m-1", "ROLE_USER", [{"text": "penguins"}])
    assert talk.headers["a2a-version"] == "1.0"
    assert talk.headers["accept-encoding"] == "identity"


async def test_metadata_are_shared_when_asked_to() -> None:
    async with serving({STREAM: streams({"task": task("COMPLETED", "x")})}) as agent:
        await collect(agent, sent(meta={"tenant": "a"}), share_meta=True, extensions=["urn:x"])

    (talk,) = agent.talks(STREAM)
    assert talk.rpc["params"]["message"]["metadata"]["penguiflow"]["meta"] == {"tenant": "a"}
    assert talk.headers["a2a-extensions"] == "urn:x"


@pytest.mark.parametrize(
    ("payload", "part"),
    [
        ("words", {"text": "words"}),
        ({"a": 1}, {"data": {"a": 1}}),
        ([1, "b"], {"data": [1, "b"]}),
        (None, {"data": None}),
    ],
)
async def test_a_payload_is_text_or_data(payload: Any, part: dict[str, Any]) -> None:
    async with serving({STREAM: streams({"task": task("COMPLETED", "x")})}) as agent:
        await collect(agent, sent(payload))

    assert agent.talks(STREAM)[0].rpc["params"]["message"]["parts"] == [part]


PICTURE = {"raw": "AP8=", "mediaType": "image/png", "filename": "p.png"}


@pytest.mark.parametrize(
    ("artifacts", "value"),
    [
        ([[{"text": "a"}, {"text": "b"}]], "ab"),
        ([[{"data": {"n": 1}}]], {"n": 1}),
        ([[{"data": None}]], None),
        ([[{"data": [1, 2]}]], [1, 2]),
        ([[PICTURE]], PICTURE),
        ([[{"url": "https://x.example/f"}]], {"url": "https://x.example/f"}),
        ([[{"text": "a"}, {"data": 1}, {"text": "b"}]], ["a", 1, "b"]),
        ([[{"text": "a"}], [{"text": "b"}]], ["a", "b"]),
    ],
)
async def test_what_artifacts_hold_is_the_value(artifacts: list[Any], value: Any) -> None:
    whole = task("COMPLETED")
    whole["artifacts"] = [{"artifactId": str(index), "parts": parts} for index, parts in enumerate(artifacts)]
    async with serving({STREAM: streams({"task": whole})}) as agent:
        parts = await collect(agent)

    assert parts[-1]["result"] == value


async def test_what_is_no_text_stands_in_the_meta_of_its_chunk() -> None:
    made = {"artifactId": "a", "name": "chart", "parts": [PICTURE]}
    update = {"artifactUpdate": {"taskId": "task-1", "contextId": "ctx-1", "artifact": made, "lastChunk": True}}
    async with serving({STREAM: streams({"task": task("WORKING")}, update, status("COMPLETED"))}) as agent:
        parts = await collect(agent)

    (chunk,) = [part for part in parts if part["kind"] == "chunk"]
    assert (chunk["text"], chunk["done"]) == ("", True)
    assert chunk["meta"] == {"artifact": "chart", "parts": [PICTURE]}


async def test_an_artifact_that_a_flow_marked_as_result_is_a_value_and_no_chunk() -> None:
    stream, result = ({"penguiflow": {"role": role}} for role in ("stream", "result"))
    events = text("word ", metadata=stream), text("whole", artifact="r", metadata=result), status("COMPLETED")
    async with serving({STREAM: streams({"task": task("WORKING")}, *events)}) as agent:
        parts = await collect(agent)

    assert chunks(parts) == ["word "]
    assert parts[-1]["result"] == "whole"


async def test_what_the_agent_says_while_it_works_is_a_stream_of_its_own() -> None:
    events = status("WORKING", "looking"), status("WORKING", "found it"), status("COMPLETED", "here")
    async with serving({STREAM: streams({"task": task("SUBMITTED")}, *events)}) as agent:
        parts = await collect(agent)

    said = [part for part in parts if part["kind"] == "chunk"]
    assert [(part["stream_id"], part["text"], part["meta"]) for part in said] == [
        ("status", "looking", {"state": "working"}),
        ("status", "found it", {"state": "working"}),
    ]
    assert parts[-1]["result"] == "here"


async def test_a_message_is_an_answer_without_a_task() -> None:
    message = {"messageId": "r", "role": "ROLE_AGENT", "contextId": "c", "parts": [{"text": "hi"}]}
    async with serving({STREAM: streams({"message": message})}) as agent:
        (result,) = await collect(agent)

    assert (result["result"], result["state"], result["context_id"], result["task_id"]) == (
        "hi",
        "completed",
        "c",
        None,
    )


@pytest.mark.parametrize("state", ["FAILED", "REJECTED", "INPUT_REQUIRED", "AUTH_REQUIRED", "CANCELED"])
async def test_a_task_that_ends_otherwise_says_why(state: str) -> None:
    async with serving({STREAM: streams({"task": task("WORKING")}, status(state, "because"))}) as agent:
        parts = await collect(agent)

    assert (parts[-1]["state"], parts[-1]["result"]) == (state.lower().replace("_", "-"), "because")


async def test_an_agent_that_does_not_stream_is_asked_for_its_task() -> None:
    answers = {
        SEND: returns({"task": task("SUBMITTED")}),
        GET: [returns(task("WORKING", "a")), returns(task("COMPLETED", "a", "b"))],
    }
    async with serving(answers, card(streaming=False)) as agent:
        parts = await collect(agent)

    assert agent.names == [SEND, GET, GET]
    assert agent.talks(SEND)[0].rpc["params"]["configuration"] == {"returnImmediately": True}
    assert chunks(parts) == ["a", "b"]
    assert parts[-1]["result"] == "ab"


async def test_an_agent_that_answers_at_once_is_asked_once() -> None:
    async with serving({SEND: returns({"task": task("COMPLETED", "x")})}, card(streaming=False)) as agent:
        parts = await collect(agent)

    assert (parts[-1]["result"], agent.names) == ("x", [SEND])


@pytest.mark.parametrize("code", [-32004, -32601])
async def test_an_agent_that_refuses_to_stream_is_sent_to(code: int) -> None:
    async with serving({STREAM: fails(code), SEND: returns({"task": task("COMPLETED", "x")})}) as agent:
        parts = await collect(agent)

    assert (parts[-1]["result"], agent.names) == ("x", [STREAM, SEND])
    assert agent.talks(SEND)[0].rpc["params"]["configuration"] == {"returnImmediately": True}


async def test_a_stream_that_is_answered_with_one_object_counts() -> None:
    async with serving({STREAM: returns({"task": task("COMPLETED", "x")})}) as agent:
        assert (await collect(agent))[-1]["result"] == "x"


async def test_version_0_3_is_spoken_to_agents_of_version_0_3() -> None:
    ids = {"contextId": "c", "taskId": "t"}
    done = {"kind": "status-update", "final": True, "status": {"state": "completed"}, **ids}
    made = {"artifactId": "a", "parts": [{"kind": "text", "text": "hi"}]}
    events = {"kind": "artifact-update", "artifact": made, "append": False, **ids}, done
    async with serving({"message/stream": streams(*events)}, CARD_03) as agent:
        parts = await collect(agent, sent({"n": 1}))

    (talk,) = agent.talks("message/stream")
    assert talk.rpc["params"]["message"]["parts"] == [{"kind": "data", "data": {"n": 1}}]
    assert "a2a-version" not in talk.headers
    assert (parts[-1]["result"], chunks(parts)) == ("hi", ["hi"])


async def test_http_json_is_spoken_where_it_is_preferred() -> None:
    async def answer(talk: Talk) -> None:
        await talk.stream()
        await talk.piece(
            b'data: {"task": {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}}\n\n'
        )
        await talk.end()

    both = card({"url": "", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}, {**REST, "tenant": "us"})
    async with serving({"POST /rest/us/message:stream": answer}, both) as agent:
        parts = await collect(agent, bindings=["HTTP+JSON", "JSONRPC"])

    assert parts[-1]["state"] == "completed"


async def test_the_newer_version_is_chosen_before_the_order_of_the_card() -> None:
    both = card(
        {**REST, "protocolVersion": "0.3.0"}, {"url": "", "protocolBinding": "jsonrpc", "protocolVersion": "1.0.1"}
    )
    async with serving({STREAM: streams({"task": task("COMPLETED", "x")})}, both) as agent:
        await collect(agent)

    assert agent.names == [STREAM]


async def test_a_tenant_travels_with_every_request() -> None:
    interface = {"url": "", "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "tenant": "us"}
    answers = {SEND: returns({"task": task("WORKING")}), GET: returns(task("COMPLETED", "x"))}
    async with serving(answers, card(interface, streaming=False)) as agent:
        await collect(agent)

    assert [talk.rpc["params"]["tenant"] for talk in agent.heard[1:]] == ["us", "us"]


async def call_in_flow(agent: Scripted, transport: A2AClientTransport, **options: Any) -> Any:
    node = RemoteNode("far", transport=transport, skill="find", **{"agent_url": agent.url, **options})
    async with create(node) as flow:
        return (await flow.ask(Message(payload="penguins"))).payload


async def test_a_card_that_is_given_is_not_asked_for_and_serves_to_cancel() -> None:
    answers = {STREAM: streams({"task": task("COMPLETED", "x")}), "CancelTask": fails(-32002)}
    async with serving(answers) as agent, A2AClientTransport(base_url=agent.url) as transport:
        assert await call_in_flow(agent, transport, agent_card=at(agent, card())) == "x"
        await transport.cancel(agent.url, "task-1")

    assert [talk.name for talk in agent.heard] == [STREAM, "CancelTask"]


async def test_a_card_is_read_once_for_many_calls_and_an_address_may_be_relative() -> None:
    async with serving({STREAM: streams({"task": task("COMPLETED", "x")})}) as agent:
        agent.answers["GET /agents/one/.well-known/agent-card.json"] = agent.answers["GET /.well-known/agent-card.json"]
        async with A2AClientTransport(base_url=agent.url, timeouts=HASTY) as transport:
            for _ in range(3):
                assert await call_in_flow(agent, transport, agent_url="agents/one") == "x"

    assert [talk.method for talk in agent.heard] == ["GET", "POST", "POST", "POST"]


async def test_headers_and_credentials_go_with_every_request_and_a_client_that_is_given_stays_open() -> None:
    async with serving({STREAM: streams({"task": task("COMPLETED", "x")})}) as agent, httpx.AsyncClient() as client:
        await collect(agent, client=client, headers={"X-Key": "k"}, auth=("user", "password"))
        assert not client.is_closed

    assert all(
        talk.headers["x-key"] == "k" and talk.headers["authorization"].startswith("Basic") for talk in agent.heard
    )


async def test_cookies_of_an_agent_are_not_kept() -> None:
    async def answer(talk: Talk) -> None:
        await talk.json(
            {"jsonrpc": "2.0", "id": talk.rpc["id"], "result": {"task": task("COMPLETED", "x")}}, "Set-Cookie: a=b"
        )

    async with serving({STREAM: answer}) as agent, A2AClientTransport(base_url=agent.url, timeouts=HASTY) as transport:
        for _ in range(2):
            await transport.send(agent.url, {}, sent())

    assert all("cookie" not in talk.headers for talk in agent.heard)


async def test_send_waits_for_the_result() -> None:
    answers = {STREAM: streams({"task": task("COMPLETED", "x")})}
    async with serving(answers) as agent, A2AClientTransport(base_url=agent.url) as transport:
        answer = await transport.send(agent.url, {}, sent())
        described = await transport.read_card()

    assert answer == {"result": "x", "context_id": "ctx-1", "task_id": "task-1", "state": "completed"}
    assert described["name"] == "scripted"


async def test_a_conversation_goes_on_in_its_context_and_task() -> None:
    async with serving({STREAM: streams({"task": task("COMPLETED", "x")})}) as agent:
        await collect(agent, sent(context_id="ctx-1", task_id="task-1"))
        with pytest.raises(AgentMisbehaved, match="not of 'other'"):
            await collect(agent, sent(context_id="ctx-1", task_id="other"))

    message = agent.talks(STREAM)[0].rpc["params"]["message"]
    assert (message["contextId"], message["taskId"]) == ("ctx-1", "task-1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "agent.example"}, "'agent.example' is not usable"),
        ({"base_url": "ftp://agent.example"}, "must be an http or https URL"),
        ({"allow_origins": ["https://user@agent.example"]}, "must be an http or https URL"),
        ({"versions": []}, "versions="),
        ({"versions": "1.0"}, "versions="),
        ({"bindings": ["GRPC"]}, "bindings="),
    ],
)
def test_what_is_not_usable_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(FlowDefinitionError, match=said):
        A2AClientTransport(**{"base_url": "https://agent.example", **options})


@pytest.mark.parametrize("options", [{"idle_s": 0}, {"retries": -1}, {"call_s": float("nan")}])
def test_time_outs_that_are_not_usable_are_refused(options: dict[str, Any]) -> None:
    from penguiflow_a2a import A2ATimeouts

    with pytest.raises(FlowDefinitionError, match=next(iter(options))):
        A2ATimeouts(**options)
