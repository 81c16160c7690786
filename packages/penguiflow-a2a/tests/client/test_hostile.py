"""Agents that are broken, or mean harm: each gives a clear error, in bounded memory and time."""

import asyncio
import gzip
import json
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from scripted import (
    CARD_03,
    CARD_PATH,
    HASTY,
    Answer,
    Talk,
    card,
    collect,
    returns,
    serving,
    status,
    streams,
    task,
    text,
)

from penguiflow import FlowError, RemoteNode, create
from penguiflow_a2a import (
    A2AClientTransport,
    A2AError,
    AgentElsewhere,
    AgentIncompatible,
    AgentMisbehaved,
    AgentRefused,
    AgentTooSlow,
    AgentUnreachable,
    AnswerLimits,
    AnswerTooLarge,
)

STREAM, SEND, GET = "SendStreamingMessage", "SendMessage", "GetTask"
CARD = f"GET {CARD_PATH}"
WORKING = {"task": task("WORKING")}
SMALL = AnswerLimits(card_bytes=10_000, answer_bytes=50_000, event_bytes=20_000, stream_bytes=500_000, brackets=1_000)
IMPATIENT = replace(HASTY, request_s=0.2, idle_s=0.2, call_s=0.5, retries=1)


def says(body: Any, *headers: str, status: int = 200) -> Answer:
    async def answer(talk: Talk) -> None:
        await talk.json(body, *headers, status=status)

    return answer


def writes(*pieces: bytes, head: str = "", forever: bool = False, pause_s: float = 0.0) -> Answer:
    """Answer with raw bytes; the last piece again and again if `forever`."""

    async def answer(talk: Talk) -> None:
        await talk.raw(head.encode())
        for piece in pieces:
            await talk.raw(piece)
        while forever:
            await asyncio.sleep(pause_s)
            await talk.raw(pieces[-1])
        await talk.gone()

    return answer


def begins(*pieces: bytes, forever: bool = False, pause_s: float = 0.0) -> Answer:
    """Begin a stream with a task, and go on with pieces of it."""

    async def answer(talk: Talk) -> None:
        await talk.stream()
        await talk.event(WORKING)
        for piece in pieces:
            await talk.piece(piece)
        while forever:
            await asyncio.sleep(pause_s)
            await talk.piece(pieces[-1])
        await talk.end()

    return answer


def rpc(**fields: Any) -> Answer:
    """Answer with a JSON-RPC response that differs from the right one in some fields; None leaves one out."""

    async def answer(talk: Talk) -> None:
        whole = {"jsonrpc": "2.0", "id": talk.rpc["id"], "result": {"task": task("COMPLETED", "x")}, **fields}
        await talk.json({name: value for name, value in whole.items() if value is not None})

    return answer


async def failure(answers: dict[str, Any], described: Any = None, **options: Any) -> A2AError:
    """Call an agent and return the error that ends the call; how long that takes is bounded."""
    began = time.monotonic()
    async with serving({"CancelTask": returns(task("CANCELED")), **answers}, described) as agent:
        with pytest.raises(A2AError) as caught:
            await collect(agent, **{"limits": SMALL, "timeouts": HASTY, **options})
    assert time.monotonic() - began < 25
    assert len(str(caught.value)) < 1000
    return caught.value


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (says(b"<html>"), AgentMisbehaved, "is no JSON"),
        (says(b""), AgentMisbehaved, "is no JSON"),
        (says([1]), AgentMisbehaved, "the agent card is not as agreed"),
        (says({"name": 7}), AgentMisbehaved, "the agent card is not as agreed"),
        (says({"name": "x", "url": "", "additionalInterfaces": 5}), AgentMisbehaved, "not as agreed"),
        (says({"name": "x", "skills": [7]}), AgentMisbehaved, "not as agreed"),
        (says({"name": "x", "supportedInterfaces": [{}]}), AgentMisbehaved, "not as agreed"),
        (says({"name": "x"}), AgentIncompatible, "offers no interface"),
        (says(card({"url": "", "protocolBinding": "GRPC", "protocolVersion": "1.0"})), AgentIncompatible, "GRPC 1.0"),
        (says(card({"url": "", "protocolBinding": "JSONRPC", "protocolVersion": "2.0"})), AgentIncompatible, "2.0"),
        (says({}, status=404), AgentRefused, "HTTP status 404"),
        (says({}, status=401), AgentRefused, "pass auth="),
        (says({"name": "x" * 20_000}), AnswerTooLarge, "card_bytes=10000"),
        (says(b"[" * 9000), AnswerTooLarge, "brackets=1000"),
        (says(b"[" * 900 + b"]" * 900), AgentMisbehaved, "is no JSON"),
        (says(b'{"name": "\xff"}'), AgentMisbehaved, "is no JSON"),
        (says(gzip.compress(b"x" * 10**7), "Content-Encoding: gzip"), AgentMisbehaved, "is compressed"),
        (says({}, "Location: https://elsewhere.example/", status=302), AgentElsewhere, "elsewhere.example"),
        (says({}, "Location: /card.json", status=301), AgentElsewhere, "redirect"),
        (says({}, status=304), AgentElsewhere, "redirect"),
    ],
)
async def test_a_card_that_cannot_be_used(answer: Answer, expected: type[A2AError], said: str) -> None:
    error = await failure({CARD: answer})

    assert type(error) is expected, error
    assert said in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/",
        "http://127.0.0.1:1/",
        "file:///etc/passwd",
        "http://127.0.0.1@elsewhere.example/",
        "http://elsewhere.example\\@127.0.0.1/",
        "//elsewhere.example/",
        "http://127.0.0.1:99999/",
        "http://[::1",
    ],
)
async def test_a_card_that_leads_elsewhere_is_not_followed(url: str) -> None:
    given = card({"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"})
    async with serving({CARD: says(given)}) as agent:
        with pytest.raises(AgentElsewhere, match="allow_origins"):
            await collect(agent)
    assert agent.names == []


async def test_an_address_elsewhere_is_not_called_and_one_that_is_allowed_is() -> None:
    async with serving({STREAM: streams({"task": task("COMPLETED", "x")})}) as agent:
        async with A2AClientTransport(base_url="http://here.example", timeouts=HASTY) as transport:
            with pytest.raises(AgentElsewhere):
                await transport.read_card(agent.url)
        async with A2AClientTransport(base_url="http://here.example", allow_origins=[agent.url]) as transport:
            assert (await transport.read_card(agent.url))["name"] == "scripted"


async def test_three_names_of_this_machine_are_one() -> None:
    async with serving({STREAM: streams({"task": task("COMPLETED", "x")})}) as agent:
        named = agent.url.replace("127.0.0.1", "localhost")
        async with A2AClientTransport(base_url=named, timeouts=HASTY) as transport:
            assert (await transport.read_card(agent.url))["name"] == "scripted"


async def test_an_agent_that_requires_an_extension_is_not_called() -> None:
    described = card(capabilities={"streaming": True, "extensions": [{"uri": "urn:pay", "required": True}]})
    error = await failure({}, described)
    assert isinstance(error, AgentIncompatible)
    assert "urn:pay" in str(error)


DEEP = b'{"jsonrpc": "2.0", "result": ' + b"[" * 500 + b"]" * 500 + b"}"


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (says(b"{"), AgentMisbehaved, "is no JSON"),
        (says(DEEP), AgentMisbehaved, "is no JSON"),
        (says(b"NaN"), AgentMisbehaved, "is no JSON"),
        (says(b'{"jsonrpc": "2.0", "id": "\\ud800"}'), AgentMisbehaved, "is no JSON"),
        (says(b"9" * 10_000), AgentMisbehaved, "is no JSON"),
        (says([]), AgentMisbehaved, "no JSON-RPC"),
        (rpc(jsonrpc="1.0"), AgentMisbehaved, "no JSON-RPC"),
        (rpc(id="another"), AgentMisbehaved, "its id is 'another'"),
        (rpc(id=None), AgentMisbehaved, "its id is None"),
        (rpc(result=None), AgentMisbehaved, "neither a result nor an error"),
        (rpc(result={}), AgentMisbehaved, "not as agreed"),
        (rpc(result={"task": {"id": 7}}), AgentMisbehaved, "not as agreed"),
        (rpc(result={"task": {**task("COMPLETED"), "id": ""}}), AgentMisbehaved, "task id ''"),
        (rpc(result={"task": {**task("COMPLETED"), "id": ".."}}), AgentMisbehaved, "task id '..'"),
        (rpc(result={"task": {**task("COMPLETED"), "id": "x" * 2000}}), AgentMisbehaved, "is not usable"),
        (rpc(result={"task": {**task("COMPLETED"), "contextId": "x" * 2000}}), AgentMisbehaved, "is not usable"),
        (rpc(result={"task": {**task("COMPLETED"), "status": {"state": "DONE"}}}), AgentMisbehaved, "not as agreed"),
        (rpc(error="text", result=None), AgentRefused, "no reason was given"),
        (rpc(error={"code": True, "message": ["x"]}), AgentRefused, "no reason was given"),
        (rpc(error={"code": -32603, "message": "x" * 5000}), AgentRefused, "xxx"),
        (rpc(error={"code": 1}, id="another"), AgentMisbehaved, "its id is 'another'"),
        (says(b"x" * 60_000), AnswerTooLarge, "answer_bytes=50000"),
        (says({"detail": "no"}, status=400), AgentRefused, "HTTP status 400 (no)"),
        (says({}, "Location: https://elsewhere.example", status=307), AgentElsewhere, "elsewhere.example"),
        (says(gzip.compress(b"{}"), "Content-Encoding: gzip"), AgentMisbehaved, "is compressed"),
        (says(b"{}", "Content-Encoding: br"), AgentMisbehaved, "is compressed"),
    ],
)
async def test_an_answer_that_is_no_answer(answer: Answer, expected: type[A2AError], said: str) -> None:
    error = await failure({SEND: answer}, card(streaming=False))

    assert type(error) is expected, error
    assert said in str(error)


def data(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (begins(data(b"{")), AgentMisbehaved, "is no JSON"),
        (begins(data({"jsonrpc": "2.0", "id": "x", "result": {}})), AgentMisbehaved, "its id is 'x'"),
        (streams(WORKING, status("WORKING", task_id="other")), AgentMisbehaved, "of task 'other', not of 'task-1'"),
        (streams(WORKING, status("WORKING", context_id="other")), AgentMisbehaved, "of context 'other'"),
        (streams(WORKING, {"unknownUpdate": {}}), AgentMisbehaved, "not as agreed"),
        (streams(WORKING, text("x" * 30_000)), AnswerTooLarge, "event_bytes=20000"),
        (begins(b"data: ", b"x" * 5000, forever=True), AnswerTooLarge, "event_bytes"),
        (begins(b"data:\n" * 100, forever=True), AnswerTooLarge, "event_bytes"),
        (begins(b"x" * 1000, forever=True), AnswerTooLarge, "event_bytes"),
        (begins(data(b"[" * 2000)), AnswerTooLarge, "brackets=1000"),
        (streams(WORKING, *[text("x" * 10_000)] * 6), AnswerTooLarge, "answer_bytes=50000"),
        (streams(WORKING, *[text("", artifact=str(n)) for n in range(60)]), AnswerTooLarge, "answer_bytes"),
        (streams(WORKING, *[text("", last=True)] * 60), AnswerTooLarge, "answer_bytes"),
        (streams(WORKING, *[text("y", append=False)] * 60), AnswerTooLarge, "answer_bytes"),
        (begins(b": ping\n\n" * 1000, forever=True), AnswerTooLarge, "stream_bytes=500000"),
        (begins(b": ping\n\n", forever=True, pause_s=0.01), AgentTooSlow, "call_s=0.5"),
        (begins(b"id: 1\nevent: x\n", forever=True, pause_s=0.01), AgentTooSlow, "call_s=0.5"),
    ],
)
async def test_a_stream_that_is_no_stream(answer: Answer, expected: type[A2AError], said: str) -> None:
    timeouts = IMPATIENT if expected is AgentTooSlow else HASTY
    error = await failure({STREAM: answer, "SubscribeToTask": answer}, timeouts=timeouts)

    assert type(error) is expected, error
    assert said in str(error)


async def test_an_endless_stream_of_news_ends_with_the_call() -> None:
    async def endless(talk: Talk) -> None:
        await talk.stream()
        while True:
            for state in ("WORKING", "SUBMITTED"):
                await talk.event(status(state, "more"))
            await asyncio.sleep(0.01)

    error = await failure({STREAM: endless}, timeouts=IMPATIENT)
    assert isinstance(error, AgentTooSlow)
    assert error.limit == "call_s"


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (writes(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 9999, forever=True), AgentUnreachable, "connection broke"),
        (writes(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000), AgentUnreachable, "connection broke"),
        (writes(b"nonsense\r\n\r\n"), AgentUnreachable, "connection broke"),
        (writes(b"HTTP/1.1 100 Continue\r\n\r\n", forever=True), AgentTooSlow, "took longer"),
        (writes(b"HTTP/1.1 200 OK\r\n", b"X", forever=True, pause_s=0.05), AgentTooSlow, "took longer"),
        (writes(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), AgentUnreachable, "connection broke"),
        (writes(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{", pause_s=1), AgentTooSlow, "took longer"),
        (writes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), AgentUnreachable, "connection broke"),
        (
            writes(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"{", forever=True, pause_s=0.05),
            AgentTooSlow,
            "",
        ),
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
async def test_an_answer_that_is_no_http(answer: Answer, expected: type[A2AError], said: str, streaming: bool) -> None:
    timeouts = IMPATIENT if expected is AgentTooSlow else HASTY
    error = await failure({STREAM: answer, SEND: answer}, card(streaming=streaming), timeouts=timeouts)

    assert type(error) is expected, error
    assert said in str(error)


async def test_an_event_that_drips_is_not_waited_for() -> None:
    drips = begins(b"data: ", b"x", forever=True, pause_s=0.02)
    error = await failure({STREAM: drips, "SubscribeToTask": drips}, timeouts=replace(IMPATIENT, call_s=5))

    assert isinstance(error, AgentTooSlow)
    assert error.limit == "request_s"


async def test_an_endless_line_is_never_held_whole() -> None:
    tracemalloc.start()
    try:
        limits = replace(SMALL, event_bytes=1_000_000, stream_bytes=50_000_000)
        await failure({STREAM: begins(b"data: ", b"x" * 100_000, forever=True)}, limits=limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


async def test_many_small_objects_are_refused_before_they_are_made() -> None:
    bomb = b'{"task": {"id": "t", "status": {"state": "TASK_STATE_WORKING"}, "history": [' + b"{}," * 400_000 + b"{}]}}"
    tracemalloc.start()
    try:
        error = await failure({SEND: says(bomb)}, card(streaming=False), limits=AnswerLimits())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(error, AnswerTooLarge)
    assert peak < 20_000_000


class Endless:
    """A stream of text that has no end; counts what was written."""

    written = 0

    async def __call__(self, talk: Talk) -> None:
        await talk.stream()
        await talk.event(WORKING)
        while True:
            await talk.event(text("x" * 10_000))
            self.written += 1


async def test_an_agent_that_sends_without_end_is_held_back_by_a_slow_reader() -> None:
    endless = Endless()
    answers = {STREAM: endless, "CancelTask": returns(task("CANCELED"))}
    async with serving(answers) as agent, A2AClientTransport(base_url=agent.url) as transport:
        node = RemoteNode("far", transport=transport, skill="s", agent_url=agent.url)
        async with create(node, queue_maxsize=2) as flow:
            trace = await flow.submit("penguins")
            chunks = trace.chunks()
            await anext(chunks)
            # What fits into the buffers of two sockets is sent ahead, and no more.
            before = -1
            while endless.written > before:
                before = endless.written
                await asyncio.sleep(0.1)
            await trace.cancel()

    assert endless.written < 3000


async def test_the_error_of_a_hostile_agent_is_the_error_of_its_trace() -> None:
    answers = {STREAM: streams(WORKING, status("WORKING", task_id="other")), "CancelTask": returns(task("CANCELED"))}
    async with serving(answers) as agent, A2AClientTransport(base_url=agent.url, timeouts=HASTY) as transport:
        flow = create(RemoteNode("far", transport=transport, skill="s", agent_url=agent.url))
        async with flow:
            with pytest.raises(AgentMisbehaved) as caught:
                await flow.ask("penguins")

    assert isinstance(caught.value, FlowError)
    assert (caught.value.node_name, caught.value.task_id) == ("far", "task-1")
    assert caught.value.to_payload()["code"] == "A2A_BAD_ANSWER"
    assert agent.names == [STREAM, "CancelTask"]


async def test_a_task_id_stays_in_its_place_in_a_path() -> None:
    interface = {"url": "", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"}
    begun = {"task": {**task("WORKING"), "id": "../../admin?x=#y"}}
    answers = {"POST /message:send": says(begun)}
    async with serving(answers, card(interface, streaming=False)) as agent:
        agent.answers["GET /tasks/..%2F..%2Fadmin%3Fx%3D%23y"] = says(
            {**task("COMPLETED", "x"), "id": begun["task"]["id"]}
        )
        parts = await collect(agent)
    assert parts[-1]["result"] == "x"


async def test_an_id_of_an_event_that_no_header_holds_is_not_sent() -> None:
    async def answer(talk: Talk) -> None:
        await talk.stream()
        await talk.event(WORKING, "1\r\nX-Evil: 1")
        await talk.end()

    again = streams({"task": task("COMPLETED", "x")})
    async with serving({STREAM: answer, "SubscribeToTask": again, GET: returns(task("COMPLETED", "x"))}) as agent:
        await collect(agent)

    (talk,) = agent.talks("SubscribeToTask")
    assert "x-evil" not in talk.headers


@pytest.mark.parametrize("state", [[], {}, 7, None, "unknown"])
async def test_a_state_of_version_0_3_that_is_none_is_refused(state: Any) -> None:
    event = {"kind": "task", "id": "t", "contextId": "c", "status": {"state": state}}

    error = await failure({"message/stream": streams(event)}, CARD_03)

    assert isinstance(error, AgentMisbehaved), error
