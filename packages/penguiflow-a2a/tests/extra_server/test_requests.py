"""What is no request, or one of the wrong version, and how each is told so."""

from __future__ import annotations

from typing import Any

import pytest

MESSAGE = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]}
OLD_MESSAGE = {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hello"}], "kind": "message"}
V1 = {"a2a-version": "1.0"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"", -32700),
        (b'{"a": NaN}', -32700),
        (b'"\xff"', -32700),
        (b"[]", -32600),
        (b"3", -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "GetTask"}', -32600),
        (b'{"id": 1, "method": "GetTask"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 5}', -32600),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "GetTask"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "Nothing"}', -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": []}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {}}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": 5}}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "SendMessage"}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {}}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"id": "x"}}', -32001),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tasks/list", "params": {}}', -32601),
    ],
)
async def test_what_is_no_request_is_told_by_its_code(serve: Any, body: bytes, code: int) -> None:
    agent = await serve()

    response = await agent.client.post("/", content=body, headers={"content-type": "application/json"})

    answer = response.json()
    assert (response.status_code, answer["error"]["code"], answer["jsonrpc"]) == (200, code, "2.0")
    assert answer["id"] == (1 if b'"id": 1' in body else None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"messageId": ""},
        {"messageId": None},
        {"role": "user"},
        {"role": "ROLE_UNSPECIFIED"},
        {"parts": []},
        {"parts": None},
        {"parts": [{}]},
        {"parts": [{"kind": "video"}]},
        {"parts": [{"text": "a", "url": "b"}]},
        {"metadata": 3},
        {"extensions": "x"},
    ],
)
async def test_a_message_that_is_wrong_is_told_by_its_field(serve: Any, wrong: dict[str, Any]) -> None:
    agent = await serve()

    answer = await agent.rpc("SendMessage", {"message": {**MESSAGE, **wrong}})

    assert answer["error"]["code"] == -32602
    info, fields = answer["error"]["data"]
    assert (info["reason"], info["domain"]) == ("INVALID_PARAMS", "a2a-protocol.org")
    assert fields["fieldViolations"][0]["field"].startswith("message")


@pytest.mark.parametrize("wrong", [{"historyLength": -1}, {"historyLength": "x"}, {"returnImmediately": "yes"}, 3])
async def test_a_configuration_that_is_wrong_is_refused(serve: Any, wrong: Any) -> None:
    agent = await serve()

    answer = await agent.rpc("SendMessage", {"message": MESSAGE, "configuration": wrong})

    assert answer["error"]["code"] == -32602


@pytest.mark.parametrize("version", ["1.0", "1.0.1", "", None])
async def test_the_method_tells_the_version_where_the_request_does_not(serve: Any, version: str | None) -> None:
    agent = await serve()
    headers = {} if version is None else {"a2a_version": version}

    new = await agent.rpc("SendMessage", {"message": MESSAGE}, **headers)
    old = await agent.rpc("message/send", {"message": OLD_MESSAGE})

    assert new["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert (old["result"]["kind"], old["result"]["status"]["state"]) == ("task", "completed")


@pytest.mark.parametrize("version", ["0.5", "2.0", "1.1", "1", "one"])
async def test_a_version_that_is_not_spoken_is_refused(serve: Any, version: str) -> None:
    agent = await serve()

    answer = await agent.rpc("SendMessage", {"message": MESSAGE}, a2a_version=version)
    rest = await agent.client.post(f"/message:send?A2A-Version={version}", json={"message": MESSAGE})

    assert (answer["error"]["code"], answer["error"]["data"][0]["reason"]) == (-32009, "VERSION_NOT_SUPPORTED")
    assert (rest.status_code, rest.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")


@pytest.mark.parametrize("name", ["A2A-Version", "a2a-version"])
@pytest.mark.parametrize("version", ["1.0", "9.0"])
async def test_a_version_in_the_query_is_one_in_the_header(serve: Any, name: str, version: str) -> None:
    agent = await serve()

    by_query = await agent.client.get(f"/tasks/none?{name}={version}")
    by_header = await agent.client.get("/tasks/none", headers={"a2a-version": version})

    assert by_query.json() == by_header.json()
    assert list(by_query.json()) == ["error"]
    assert by_query.headers["content-type"] == by_header.headers["content-type"] == "application/a2a+json"


@pytest.mark.parametrize("request_id", ["", "\u2028", 0, -1, 2**70, 1.5, None])
async def test_an_id_is_given_back(serve: Any, request_id: Any) -> None:
    agent = await serve()

    answer = (await agent.post({"jsonrpc": "2.0", "id": request_id, "method": "ListTasks"})).json()

    assert (answer["id"], answer["result"]["totalSize"]) == (request_id, 0)


async def test_a_method_of_the_other_version_than_asked_for_is_refused(serve: Any) -> None:
    agent = await serve()

    old = await agent.rpc("message/send", {"message": OLD_MESSAGE}, a2a_version="1.0")
    new = await agent.rpc("SendMessage", {"message": MESSAGE}, a2a_version="0.3")

    assert (old["error"]["code"], new["error"]["code"]) == (-32601, -32009)


async def test_http_json_has_paths_and_media_types_of_its_own(serve: Any) -> None:
    agent = await serve()

    sent = await agent.client.post("/message:send", json={"message": MESSAGE}, headers=V1)
    task = sent.json()["task"]
    got = await agent.client.get(f"/tasks/{task['id']}?historyLength=0", headers={**V1, "accept": "application/json"})

    assert (sent.status_code, sent.headers["content-type"]) == (200, "application/a2a+json")
    assert got.headers["content-type"] == "application/json"
    assert "history" not in got.json()


@pytest.mark.parametrize("prefix", ["/some-tenant", "/v1"])
async def test_a_tenant_is_a_path_and_its_tasks_are_its_own(serve: Any, prefix: str) -> None:
    agent = await serve()

    task = (await agent.client.post(f"{prefix}/message:send", json={"message": MESSAGE}, headers=V1)).json()["task"]
    within = await agent.client.get(f"{prefix}/tasks/{task['id']}", headers=V1)
    without = await agent.client.get(f"/tasks/{task['id']}", headers=V1)

    assert within.status_code == 200
    assert without.status_code == (200 if prefix == "/v1" else 404)


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/tasks/none", 404, "TASK_NOT_FOUND"),
        ("POST", "/tasks/none:cancel", 404, "TASK_NOT_FOUND"),
        ("GET", "/tasks/none:subscribe", 404, "TASK_NOT_FOUND"),
        ("POST", "/tasks/none:subscribe", 404, "TASK_NOT_FOUND"),
        ("GET", "/tasks?pageSize=0", 400, "INVALID_PARAMS"),
        ("GET", "/tasks?pageSize=x", 400, "INVALID_PARAMS"),
        ("GET", "/tasks?status=running", 400, "INVALID_PARAMS"),
        ("GET", "/tasks?pageToken=x", 400, "INVALID_PARAMS"),
        ("GET", "/tasks?statusTimestampAfter=x", 400, "INVALID_PARAMS"),
        ("GET", "/extendedAgentCard", 400, "UNSUPPORTED_OPERATION"),
        ("GET", "/tasks/none/pushNotificationConfigs", 404, "TASK_NOT_FOUND"),
    ],
)
async def test_http_json_tells_errors_as_google_rpc_status(
    serve: Any, method: str, path: str, status: int, reason: str
) -> None:
    agent = await serve()

    response = await agent.client.request(method, path, headers=V1)

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, status)
    assert error["details"][0] == {
        **error["details"][0],
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "a2a-protocol.org",
    }


async def test_version_0_3_over_http_json_is_answered_as_it_was_asked(serve: Any) -> None:
    agent = await serve()
    protobuf = {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "hello"}]}

    plain = (await agent.client.post("/v1/message:send", json={"message": OLD_MESSAGE})).json()
    other = (await agent.client.post("/v1/message:send", json={"message": protobuf})).json()["task"]
    plain_again = (await agent.client.get(f"/v1/tasks/{plain['id']}")).json()
    other_again = (await agent.client.get(f"/v1/tasks/{other['id']}")).json()

    assert (plain["kind"], plain_again["status"]["state"]) == ("task", "completed")
    assert plain["task"] == plain_again
    assert other["history"][0]["content"] == [{"text": "hello"}]
    assert (other_again["status"]["state"], "kind" in other_again) == ("TASK_STATE_COMPLETED", False)


async def test_lists_are_not_in_version_0_3(serve: Any) -> None:
    agent = await serve()

    assert (await agent.client.get("/v1/tasks")).status_code == 404
    assert (await agent.client.get("/v1/tasks", headers=V1)).status_code == 200
