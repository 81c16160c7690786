"""What is refused before it is looked into: sizes, types, origins, strangers, crowds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguiflow_a2a.server import Principal, ServerLimits, describe
from penguiflow_a2a.types import AgentCapabilities, AgentExtension, HTTPAuthSecurityScheme, SecurityScheme

MESSAGE = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]}
SEND = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": MESSAGE}}
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonx"])
@pytest.mark.parametrize("path", ["/", "/message:send"])
async def test_a_body_that_is_not_called_json_is_not_executed(serve: Any, content_type: str, path: str) -> None:
    agent = await serve()

    response = await agent.client.post(path, content=b"{}", headers={"content-type": content_type})

    assert response.status_code == 415
    assert agent.server.active_tasks == 0


async def test_json_is_taken_by_either_name_and_with_a_charset(serve: Any) -> None:
    agent = await serve()
    for name in ("application/json; charset=utf-8", "application/a2a+json", "Application/JSON"):
        response = await agent.client.post("/", json=SEND, headers={"content-type": name})
        assert "result" in response.json()


async def test_a_body_that_is_far_too_large_is_refused_before_it_is_read(serve: Any) -> None:
    agent = await serve(limits=ServerLimits(max_body_bytes=1000))
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 500

    streamed = await agent.client.post("/", content=body(), headers=JSON)
    declared = await agent.client.post("/", content=b" " * 1001, headers=JSON)

    assert (streamed.status_code, declared.status_code) == (413, 413)
    assert sent < 100


@pytest.mark.parametrize("is_declared", [True, False])
async def test_a_client_whose_body_is_too_large_is_told_so(serve_for_real: Any, is_declared: bool) -> None:
    agent = await serve_for_real(limits=ServerLimits(max_body_bytes=4 * 2**20))
    # More than what fits into the buffers of a connection, which the client has to get rid of before it reads.
    body = b" " * (24 * 2**20)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 2**20):
            yield body[start : start + 2**20]

    answer = await agent.client.post("/", content=body if is_declared else pieces(), headers=JSON)

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, -32054)


async def test_a_client_that_stops_sending_is_not_waited_for(serve_for_real: Any) -> None:
    agent = await serve_for_real(limits=ServerLimits(body_timeout_s=0.2))
    host, port = agent.client.base_url.host, agent.client.base_url.port
    reader, writer = await asyncio.open_connection(host, port)

    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    writer.write(head)

    assert b"took too long" in await reader.read(1000)
    writer.close()


@pytest.mark.parametrize("depth", [100, 100_000])
async def test_json_that_nests_too_deep_is_refused(serve: Any, depth: int) -> None:
    agent = await serve()
    body = b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"a":' + b"[" * depth + b"]" * depth + b"}}"

    response = await agent.client.post("/", content=body, headers=JSON)

    assert response.json()["error"]["code"] == -32600


async def test_json_that_is_wide_is_taken(serve: Any) -> None:
    agent = await serve()
    wide = {"wide": [[number] for number in range(500)]}

    answer = await agent.rpc("SendMessage", {"message": MESSAGE, "metadata": wide})

    assert answer["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize("field", ["messageId", "contextId", "taskId"])
@pytest.mark.parametrize("value", ["x" * 1_000_000, "a\nb", "a\x00"])
async def test_ids_are_short_and_printable(serve: Any, field: str, value: str) -> None:
    agent = await serve()

    answer = await agent.rpc("SendMessage", {"message": {**MESSAGE, field: value}})
    asked = await agent.rpc("GetTask", {"id": value})

    assert answer["error"]["code"] == -32602
    assert asked["error"]["code"] in (-32602, -32001)


async def test_a_message_of_too_many_parts_is_refused(serve: Any) -> None:
    agent = await serve(limits=ServerLimits(max_parts=2))

    answer = await agent.rpc("SendMessage", {"message": {**MESSAGE, "parts": [{"text": "x"}] * 3}})

    assert answer["error"]["code"] == -32602


@pytest.mark.parametrize("path", ["/", "/message:send", "/tasks/x:cancel"])
async def test_pages_from_elsewhere_may_not_call_the_agent(serve: Any, path: str) -> None:
    agent = await serve(allowed_origins=["https://friend.example"])

    refused = await agent.client.post(path, json=SEND, headers={"origin": "https://evil.example"})
    own = await agent.client.post(path, json=SEND, headers={"origin": "http://127.0.0.1:9"})
    friend = await agent.client.post(path, json=SEND, headers={"origin": "https://friend.example"})

    assert refused.status_code == 403
    assert 403 not in (own.status_code, friend.status_code)


async def test_a_part_of_a_type_that_the_agent_does_not_take_is_refused(serve: Any) -> None:
    agent = await serve()
    parts = [{"raw": "AAAA", "mediaType": "video/mp4"}]

    answer = await agent.rpc("SendMessage", {"message": {**MESSAGE, "parts": parts}})

    assert answer["error"]["code"] == -32005


async def test_strangers_are_told_how_to_identify_themselves(serve: Any) -> None:
    async def auth(headers: Any) -> str | None:
        return {"Bearer a": "ann"}.get(headers.get("authorization", ""))

    agent = await serve(auth=auth)

    refused = await agent.post(SEND)
    welcome = await agent.post(SEND, authorization="Bearer a")
    rest = await agent.client.get("/tasks", headers={"a2a-version": "1.0"})
    card = await agent.client.get("/.well-known/agent-card.json")

    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "result" in welcome.json()
    assert (rest.status_code, rest.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert card.status_code == 200


async def test_tasks_of_others_are_as_unknown_as_those_that_never_were(serve: Any) -> None:
    agent = await serve(auth=lambda headers: Principal(headers.get("x-user", "")) if "x-user" in headers else None)
    agent.client.headers["x-user"] = "ann"
    task = await agent.send("ask")
    params = {"message": {**MESSAGE, "taskId": task["id"]}}
    calls = [("GetTask", {"id": task["id"]}), ("CancelTask", {"id": task["id"]}), ("SendMessage", params)]
    calls += [("SubscribeToTask", {"id": task["id"]}), ("ListTaskPushNotificationConfigs", {"taskId": task["id"]})]

    agent.client.headers["x-user"] = "bob"
    for method, asked in calls:
        found = (await agent.rpc(method, asked))["error"]
        never = (await agent.rpc(method, _with_id(asked, "never")))["error"]
        assert (found["code"], found["message"]) == (never["code"], never["message"]) == (-32001, "Task not found")
    assert (await agent.rpc("ListTasks"))["result"]["totalSize"] == 0


def _with_id(params: dict[str, Any], task_id: str) -> dict[str, Any]:
    if "message" in params:
        return {"message": {**params["message"], "taskId": task_id}}
    return {next(iter(params)): task_id}


async def test_too_many_requests_are_told_when_to_come_back(serve: Any) -> None:
    agent = await serve(limits=ServerLimits(requests_per_s=0.5, burst=2))

    statuses = [(await agent.post(SEND)).status_code for _ in range(3)]
    last = await agent.client.get("/tasks", headers={"a2a-version": "1.0"})

    assert statuses == [200, 200, 429]
    assert (last.status_code, last.headers["retry-after"]) == (429, "2")


async def test_whoever_guesses_at_credentials_is_held_to_the_rate(serve: Any) -> None:
    agent = await serve(auth=lambda headers: None, limits=ServerLimits(requests_per_s=0.001, burst=2))

    assert [(await agent.post(SEND)).status_code for _ in range(3)] == [401, 401, 429]


async def test_too_many_tasks_at_work_are_refused_until_one_ends(serve: Any) -> None:
    agent = await serve(limits=ServerLimits(max_active_tasks=1))
    waiting = await agent.send("wait x", now=True)

    refused = await agent.post(SEND)
    await agent.rpc("CancelTask", {"id": waiting["id"]})

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "result" in (await agent.post(SEND)).json()


async def test_one_owner_cannot_take_all_the_room(serve: Any) -> None:
    agent = await serve(auth=lambda h: h.get("x-user"), limits=ServerLimits(max_active_tasks_per_owner=1))
    agent.client.headers["x-user"] = "ann"
    await agent.send("wait x", now=True)

    assert (await agent.post(SEND)).status_code == 429
    assert (await agent.post(SEND, x_user="bob")).status_code == 200


async def test_an_extension_that_is_required_has_to_be_declared(serve: Any, flow_gates: Any) -> None:
    from .conftest import make_flow  # type: ignore[import-not-found]

    flow = make_flow(flow_gates)
    card = describe(flow, url="http://127.0.0.1:9")
    extensions = [AgentExtension(uri="urn:must", required=True), AgentExtension(uri="urn:may")]
    scheme = SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme="basic"))
    capabilities = AgentCapabilities(extensions=extensions)
    agent = await serve(
        flow, card=card.model_copy(update={"capabilities": capabilities, "security_schemes": {"b": scheme}})
    )

    refused = await agent.post(SEND)
    taken = await agent.post(SEND, a2a_extensions="urn:must, urn:other,urn:may")

    assert refused.json()["error"]["code"] == -32008
    assert taken.headers["a2a-extensions"] == "urn:may,urn:must"
