"""The agent that conformance suites are run against does what its table says, over every binding and version."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from penguiflow_a2a._protocol.codecs import V03, V03_REST, V1
from penguiflow_a2a.types import Message, Part, Role, SendMessageRequest, Task, TaskState

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance_agent import BEHAVIOURS, conformance_app  # type: ignore[import-not-found]

URL = "http://127.0.0.1:9"
COMPLETED = TaskState.COMPLETED
STATES = {
    "tck-input-required": TaskState.INPUT_REQUIRED,
    "tck-reject-task": TaskState.REJECTED,
    "anything else": TaskState.INPUT_REQUIRED,
}
CONTENTS = {
    "tck-artifact-text": {"text": "Generated text content"},
    "tck-artifact-file": {"raw": "SGVsbG8gZnJvbSBUQ0s=", "filename": "output.txt", "mediaType": "text/plain"},
    "tck-artifact-data": {"data": {"key": "value", "count": 42}},
    "tck-stream-artifact-chunked": {"text": "chunk-1 chunk-2"},
}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = conformance_app(URL)
    async with app.router.lifespan_context(app):
        yield httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL, timeout=20)


def a_request(prefix: str, **fields: Any) -> SendMessageRequest:
    message = Message(message_id=f"{prefix}-1", role=Role.USER, parts=[Part(text="hello")], **fields)
    return SendMessageRequest(message=message)


async def send(client: httpx.AsyncClient, binding: str, request: SendMessageRequest) -> Task | Message:
    """Send a message in one of the four ways, and return the answer."""
    codec = {"rpc 1.0": V1, "rest 1.0": V1, "rpc 0.3": V03, "rest 0.3": V03_REST}[binding]
    body = codec.encode_send(request)
    if binding.startswith("rest"):
        path, headers = ("/message:send", {"a2a-version": "1.0"}) if codec is V1 else ("/v1/message:send", {})
        return codec.decode_event((await client.post(path, json=body, headers=headers)).json())  # type: ignore[return-value]
    method = "SendMessage" if codec is V1 else "message/send"
    response = await client.post("/", json={"jsonrpc": "2.0", "id": "x", "method": method, "params": body})
    return codec.decode_event(response.json()["result"])  # type: ignore[return-value]


@pytest.mark.parametrize("binding", ["rpc 1.0", "rest 1.0", "rpc 0.3", "rest 0.3"])
@pytest.mark.parametrize("prefix", sorted({*BEHAVIOURS, "anything else"} - {"test-resubscribe-message-id"}))
async def test_a_prefix_leads_to_its_state(client: httpx.AsyncClient, binding: str, prefix: str) -> None:
    answer = await send(client, binding, a_request(prefix))

    if prefix == "tck-message-response":
        assert isinstance(answer, Message)
        assert answer.text == "Direct message response"
        return
    assert isinstance(answer, Task)
    assert answer.status.state == STATES.get(prefix, COMPLETED)
    if prefix in CONTENTS:
        assert answer.artifacts[0].parts[0].to_wire() == CONTENTS[prefix]
    if prefix == "tck-complete-task":
        assert answer.status.message is not None
        assert answer.status.message.text == "Hello from TCK"


async def test_any_other_task_works_a_while_and_can_be_cancelled(client: httpx.AsyncClient) -> None:
    params = a_request("other").to_wire() | {"configuration": {"returnImmediately": True}}
    begun = await client.post("/", json={"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params})
    task = begun.json()["result"]["task"]

    cancel = {"jsonrpc": "2.0", "id": 2, "method": "CancelTask", "params": {"id": task["id"]}}
    cancelled = (await client.post("/", json=cancel)).json()["result"]

    assert task["status"]["state"] in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")
    assert cancelled["status"]["state"] == "TASK_STATE_CANCELED"


async def test_streams_of_artifacts_work_then_give_then_complete(client: httpx.AsyncClient) -> None:
    for prefix in ("tck-stream-001", "tck-stream-003", "tck-stream-ordering-001", "tck-stream-artifact-file"):
        body = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": a_request(prefix).to_wire()}
        text = (await client.post("/", json=body)).text
        events = [json.loads(line[6:])["result"] for line in text.splitlines() if line.startswith("data: ")]
        assert [next(iter(event)) for event in events] == ["task", "statusUpdate", "artifactUpdate", "statusUpdate"]
