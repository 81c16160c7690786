"""Agents that answer anything at all: a call ends in a result, or in an error of ours."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import CARD_03, card, sent, status, task, text

from penguiflow_a2a import A2AClientTransport, A2AError, A2ATimeouts, AnswerLimits

URL = "http://agent.example"
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
V1 = [
    {"task": task("WORKING")},
    {"task": task("COMPLETED", "a", "b")},
    status("WORKING", "busy"),
    status("COMPLETED"),
    status("FAILED", "no"),
    status("WORKING", task_id="other"),
    text("a"),
    text("b", append=False, last=True),
    {"message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "hi"}]}},
]
IDS = {"taskId": "t", "contextId": "c"}
PARTS = [{"kind": "text", "text": "a"}, {"kind": "data", "data": {}}, {"kind": "file", "file": {"uri": "x"}}]
V03: list[dict[str, Any]] = [
    {"kind": "task", "id": "t", "contextId": "c", "status": {"state": "working"}},
    {"kind": "status-update", "status": {"state": "completed"}, "final": True, **IDS},
    {"kind": "artifact-update", "artifact": {"artifactId": "a", "parts": PARTS}, **IDS},
    {"kind": "message", "messageId": "m", "role": "agent", "parts": PARTS},
]


@st.composite
def events(draw: st.DrawFn) -> Any:
    """Draw an event that the protocol knows, whole or with one thing in it replaced, or anything else."""
    event: Any = json.loads(json.dumps(draw(st.sampled_from([*V1, *V03]))))
    if draw(st.booleans()):
        return event
    place = event
    while isinstance(place, dict) and place:
        key = draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or draw(st.booleans()):
            place[key] = draw(JSON)
            return event
        place = place[key]
    return draw(JSON)


class AnyAgent:
    """Answers every request with the next of its answers, as an event or as a whole."""

    def __init__(self, answers: list[Any], *, streams: bool, old: bool) -> None:
        self.answers = answers
        self.streams = streams
        self.old = old

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            described = {**CARD_03, "url": URL, "capabilities": {"streaming": self.streams}}
            newer = card({"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}, streaming=self.streams)
            return httpx.Response(200, json=described if self.old else newer)
        asked = json.loads(request.content)
        taken = self.answers[:3] if self.streams else self.answers[:1]
        del self.answers[: len(taken)]
        whole = [{"jsonrpc": "2.0", "id": asked["id"], "result": each} for each in taken or [None]]
        if not self.streams or not taken:
            return httpx.Response(200, json=whole[0])
        lines = "".join(f"id: {number}\ndata: {json.dumps(each)}\n\n" for number, each in enumerate(whole))
        return httpx.Response(200, text=lines, headers={"content-type": "text/event-stream"})


async def outcome(agent: AnyAgent) -> list[dict[str, Any]] | A2AError:
    timeouts = A2ATimeouts(call_s=2, poll_s=0.001, backoff_s=0.001, retries=1)
    async with httpx.AsyncClient(transport=httpx.MockTransport(agent)) as client:
        transport = A2AClientTransport(base_url=URL, client=client, timeouts=timeouts, limits=AnswerLimits())
        try:
            return [part async for part in transport.stream(URL, {}, sent())]
        except A2AError as error:
            return error


@pytest.mark.timeout(300)
@given(st.lists(events(), max_size=9), st.booleans(), st.booleans())
def test_a_call_ends_in_a_result_or_in_an_error_of_ours(answers: list[Any], streams: bool, old: bool) -> None:
    ended = asyncio.run(outcome(AnyAgent(answers, streams=streams, old=old)))

    if isinstance(ended, list):
        assert [part["kind"] for part in ended].index("result") == len(ended) - 1
        assert {"context_id", "task_id", "state"} <= set(ended[-1])
