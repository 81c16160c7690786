"""Clients that we did not write call our server: a2a-sdk of both lines, over JSON-RPC and HTTP+JSON."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client import Client, ClientConfig, create_client
from a2a.client.errors import A2AClientError
from a2a.types import (
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import A2AError

from .serving import conformance_agent

BINDINGS = ["JSONRPC", "HTTP+JSON"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with conformance_agent() as served:
        yield served


@pytest.fixture(params=BINDINGS)
async def client(url: str, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        config = ClientConfig(httpx_client=http, supported_protocol_bindings=[request.param])
        yield await create_client(url, config)


def a_request(prefix: str, **fields: Any) -> SendMessageRequest:
    message = Message(message_id=f"{prefix}-{uuid.uuid4()}", role=Role.ROLE_USER, parts=[Part(text="hello")], **fields)
    return SendMessageRequest(message=message)


async def events_of(client: Client, request: SendMessageRequest) -> list[Any]:
    return [event async for event in client.send_message(request)]


@pytest.mark.parametrize(
    ("prefix", "state"),
    [
        ("tck-complete-task", TaskState.TASK_STATE_COMPLETED),
        ("tck-input-required", TaskState.TASK_STATE_INPUT_REQUIRED),
        ("tck-reject-task", TaskState.TASK_STATE_REJECTED),
    ],
)
async def test_a_stream_leads_to_the_state(client: Client, prefix: str, state: int) -> None:
    events = await events_of(client, a_request(prefix))

    assert events[0].HasField("task")
    assert events[-1].status_update.status.state == state


async def test_chunks_are_appended(client: Client) -> None:
    events = await events_of(client, a_request("tck-stream-artifact-chunked"))

    updates = [event.artifact_update for event in events if event.HasField("artifact_update")]
    assert [update.artifact.parts[0].text for update in updates] == ["chunk-1 ", "chunk-2"]
    assert [(update.append, update.last_chunk) for update in updates] == [(False, False), (True, True)]


async def test_a_reply_is_one_message(client: Client) -> None:
    (event,) = await events_of(client, a_request("tck-message-response"))

    assert event.message.parts[0].text == "Direct message response"


@pytest.mark.parametrize(
    ("prefix", "content"),
    [("tck-artifact-text", "text"), ("tck-artifact-file", "raw"), ("tck-artifact-file-url", "url")],
)
async def test_artifacts_hold_what_they_should(client: Client, prefix: str, content: str) -> None:
    events = await events_of(client, a_request(prefix))

    task = await client.get_task(GetTaskRequest(id=events[0].task.id))

    assert task.artifacts[0].parts[0].WhichOneof("content") == content


async def test_a_conversation_and_its_end(client: Client) -> None:
    asked = (await events_of(client, a_request("tck-input-required")))[0].task

    await events_of(client, a_request("tck-input-required", task_id=asked.id))
    task = await client.get_task(GetTaskRequest(id=asked.id))
    cancelled = await client.cancel_task(CancelTaskRequest(id=asked.id))

    assert [message.role for message in task.history] == [Role.ROLE_USER, Role.ROLE_AGENT, Role.ROLE_USER]
    assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
    with pytest.raises((A2AError, A2AClientError)):
        await client.cancel_task(CancelTaskRequest(id=asked.id))


async def test_tasks_are_listed_in_pages(client: Client) -> None:
    context = str(uuid.uuid4())
    for _ in range(3):
        await events_of(client, a_request("tck-complete-task", context_id=context))

    page = await client.list_tasks(ListTasksRequest(context_id=context, page_size=2))
    rest = await client.list_tasks(ListTasksRequest(context_id=context, page_size=2, page_token=page.next_page_token))

    assert (len(page.tasks), len(rest.tasks), page.total_size, rest.next_page_token) == (2, 1, 3, "")


async def test_a_task_is_followed(client: Client) -> None:
    stream = aiter(client.send_message(a_request("test-resubscribe-message-id")))
    task_id = (await anext(stream)).task.id

    events = [event async for event in client.subscribe(SubscribeToTaskRequest(id=task_id))]

    assert events[0].task.id == task_id
    assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
    await stream.aclose()  # type: ignore[attr-defined]


async def test_push_configurations_are_kept(client: Client) -> None:
    task_id = (await events_of(client, a_request("tck-input-required")))[0].task.id
    config = TaskPushNotificationConfig(task_id=task_id, id="p", url="http://127.0.0.1:9/h", token="t")
    which = {"task_id": task_id, "id": "p"}

    made = await client.create_task_push_notification_config(config)
    got = await client.get_task_push_notification_config(GetTaskPushNotificationConfigRequest(**which))
    request = ListTaskPushNotificationConfigsRequest(task_id=task_id)
    listed = await client.list_task_push_notification_configs(request)
    await client.delete_task_push_notification_config(DeleteTaskPushNotificationConfigRequest(**which))

    assert made.url == got.url == listed.configs[0].url == config.url
    assert not (await client.list_task_push_notification_configs(request)).configs


async def test_an_unknown_task_is_told_as_such(client: Client) -> None:
    with pytest.raises((A2AError, A2AClientError), match=r"(?i)not found"):
        await client.get_task(GetTaskRequest(id="never"))


@pytest.mark.timeout(90)
@pytest.mark.parametrize("transport", BINDINGS)
def test_the_client_of_0_3_gets_through_every_operation(url: str, transport: str) -> None:
    calls = Path(__file__).parent / "sdk03_calls.py"
    ran = subprocess.run(
        [os.environ["A2A_SDK03_PYTHON"], str(calls), url, transport], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    for streaming in (False, True):
        assert found[f"states {streaming}"] == "completed"
        assert found[f"file {streaming}"] == ["output.txt", "Hello from TCK"]
        assert found[f"reply {streaming}"] == "Direct message response"
    assert (found["asked"], found["got"], found["cancelled"]) == ("input-required", True, "canceled")
    assert found["followed"] == [True, "completed", 3]
    assert found["push"] == "http://127.0.0.1:9/hook"
