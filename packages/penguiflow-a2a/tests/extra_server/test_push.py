"""Push notifications: to whom, in what form, and to which addresses never."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguiflow_a2a._server.addresses import resolve, split_url
from penguiflow_a2a.server import ProtocolError, PushPolicy, ServerLimits

LOCAL = ServerLimits(push=PushPolicy(allow_loopback=True, attempts=2))
SECRET = {"scheme": "Bearer", "credentials": "c"}


class Hook:
    """A receiver of notifications on loopback; it answers with the statuses it was given, then with 200."""

    def __init__(self) -> None:
        self.url = ""
        self.got: asyncio.Queue[tuple[dict[str, str], Any]] = asyncio.Queue()
        self.answers: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        await self.got.put((headers, json.loads(body)))
        answer = self.answers.pop(0) if self.answers else b"200 OK"
        writer.write(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    made = Hook()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?a=b"
    async with server:
        yield made


async def begin(agent: Any, **config: Any) -> dict[str, Any]:
    """Begin a task that waits, with a push configuration."""
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "wait here"}]}
    configuration = {"returnImmediately": True, "taskPushNotificationConfig": config}
    return await agent.rpc("SendMessage", {"message": message, "configuration": configuration})  # type: ignore[no-any-return]


async def test_each_change_of_state_is_told_with_token_and_credentials(serve: Any, hook: Hook) -> None:
    agent = await serve(limits=LOCAL)
    answer = await begin(agent, url=hook.url, token="t", authentication=SECRET)
    agent.gates.setdefault("here", asyncio.Event()).set()

    told = [await hook.got.get() for _ in range(3)]

    headers = told[0][0]
    assert (headers["x-a2a-notification-token"], headers["authorization"]) == ("t", "bearer c")
    assert headers["content-type"] == "application/a2a+json"
    assert [next(iter(body)) for _, body in told] == ["statusUpdate", "artifactUpdate", "statusUpdate"]
    assert told[-1][1]["statusUpdate"]["taskId"] == answer["result"]["task"]["id"]
    assert told[-1][1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_clients_of_0_3_are_told_the_task(serve: Any, hook: Hook) -> None:
    agent = await serve(limits=LOCAL)
    task = await agent.send("wait here", now=True)
    config = {"taskId": task["id"], "pushNotificationConfig": {"url": hook.url, "token": "t"}}
    await agent.rpc("tasks/pushNotificationConfig/set", config)
    agent.gates.setdefault("here", asyncio.Event()).set()

    while (body := (await hook.got.get())[1])["status"]["state"] != "completed":
        assert body["kind"] == "task"

    assert body["id"] == task["id"]


async def test_a_receiver_that_fails_is_tried_again(serve: Any, hook: Hook) -> None:
    hook.answers = [b"503 Busy"]
    agent = await serve(limits=LOCAL)
    await begin(agent, url=hook.url)

    first, again = await hook.got.get(), await hook.got.get()

    assert first[1] == again[1]


async def test_a_redirect_is_not_followed(serve: Any, hook: Hook) -> None:
    hook.answers = [f"302 Found\r\nLocation: {hook.url}&redirected".encode()]
    agent = await serve(limits=LOCAL)
    await begin(agent, url=hook.url)
    agent.gates.setdefault("here", asyncio.Event()).set()

    told = [(await hook.got.get())[1] for _ in range(3)]

    assert [next(iter(body)) for body in told] == ["statusUpdate", "artifactUpdate", "statusUpdate"]


async def test_configurations_are_kept_listed_and_deleted(serve: Any) -> None:
    agent = await serve(limits=LOCAL)
    task = await agent.send("ask")
    config = {"taskId": task["id"], "id": "c", "url": "https://127.0.0.1/h", "token": "t"}
    which = {"taskId": task["id"], "id": "c"}

    made = await agent.rpc("CreateTaskPushNotificationConfig", config)
    other = await agent.rpc("CreateTaskPushNotificationConfig", {**config, "id": ""})
    got = await agent.rpc("GetTaskPushNotificationConfig", which)
    listed = await agent.rpc("ListTaskPushNotificationConfigs", {"taskId": task["id"]})
    deleted = [await agent.rpc("DeleteTaskPushNotificationConfig", which) for _ in range(2)]
    gone = await agent.rpc("GetTaskPushNotificationConfig", which)

    assert made["result"] == got["result"] == config
    assert other["result"]["id"]
    assert len(listed["result"]["configs"]) == 2
    assert [answer["result"] for answer in deleted] == [None, None]
    assert gone["error"]["code"] == -32001


async def test_configurations_of_0_3_stand_beside_their_task(serve: Any) -> None:
    agent = await serve(limits=LOCAL)
    task_id = (await agent.send("ask"))["id"]
    config = {"taskId": task_id, "pushNotificationConfig": {"id": "c", "url": "https://127.0.0.1/h"}}
    which = {"id": task_id, "pushNotificationConfigId": "c"}

    made = await agent.rpc("tasks/pushNotificationConfig/set", config)
    got = [await agent.rpc("tasks/pushNotificationConfig/get", each) for each in (which, {"id": task_id})]
    listed = await agent.rpc("tasks/pushNotificationConfig/list", {"id": task_id})
    deleted = await agent.rpc("tasks/pushNotificationConfig/delete", which)

    assert [made["result"], *(each["result"] for each in got)] == [config] * 3
    assert (listed["result"], deleted["result"]) == ([config], None)


async def test_configurations_have_paths_over_http_json(serve: Any) -> None:
    agent = await serve(limits=LOCAL)
    task_id = (await agent.send("ask"))["id"]
    path, headers = f"/tasks/{task_id}/pushNotificationConfigs", {"a2a-version": "1.0"}

    made = await agent.client.post(path, json={"id": "c", "url": "https://127.0.0.1/h"}, headers=headers)
    got = await agent.client.get(f"{path}/c", headers=headers)
    listed = await agent.client.get(path, headers=headers)
    deleted = await agent.client.delete(f"{path}/c", headers=headers)

    assert made.json() == got.json() == {"taskId": task_id, "id": "c", "url": "https://127.0.0.1/h"}
    assert listed.json()["configs"] == [got.json()]
    assert (deleted.status_code, deleted.json()) == (200, {})


@pytest.mark.parametrize(
    ("method", "which", "field"),
    [
        ("GetTaskPushNotificationConfig", {"taskId": "?"}, "id"),
        ("DeleteTaskPushNotificationConfig", {"taskId": "?"}, "id"),
        ("tasks/pushNotificationConfig/delete", {"id": "?"}, "pushNotificationConfigId"),
    ],
)
async def test_which_configuration_is_meant_has_to_be_said(
    serve: Any, method: str, which: dict[str, str], field: str
) -> None:
    agent = await serve(limits=LOCAL)
    task_id = (await agent.send("ask"))["id"]

    answer = await agent.rpc(method, dict.fromkeys(which, task_id))

    assert (answer["error"]["code"], answer["error"]["message"]) == (-32602, f"{field}: missing")


async def test_configurations_are_listed_in_pages(serve: Any) -> None:
    agent = await serve(limits=LOCAL)
    task_id = (await agent.send("ask"))["id"]
    for name in "bac":
        config = {"taskId": task_id, "id": name, "url": "https://127.0.0.1/h"}
        await agent.rpc("CreateTaskPushNotificationConfig", config)
    path = f"/tasks/{task_id}/pushNotificationConfigs?A2A-Version=1.0&pageSize=2"

    first = (await agent.client.get(path)).json()
    await agent.rpc("DeleteTaskPushNotificationConfig", {"taskId": task_id, "id": "b"})
    second = (await agent.client.get(f"{path}&pageToken={first['nextPageToken']}")).json()
    wrong = await agent.client.get(f"{path}&pageToken=%3F")

    assert [[config["id"] for config in page["configs"]] for page in (first, second)] == [["a", "b"], ["c"]]
    assert "nextPageToken" not in second
    assert wrong.status_code == 400


@pytest.mark.parametrize("content", ["parts", "content"])
async def test_configurations_of_0_3_may_be_wrapped_over_http_json(serve: Any, content: str) -> None:
    agent = await serve(limits=LOCAL)
    role = "user" if content == "parts" else "ROLE_USER"
    message = {"messageId": "m", "role": role, content: [{"text": "ask"}]}
    answer = (await agent.client.post("/v1/message:send", json={"message": message})).json()
    path = f"/v1/tasks/{answer.get('task', answer)['id']}/pushNotificationConfigs"
    config = {"url": "https://127.0.0.1/h"}

    for body in ({"configId": "c", "config": {"pushNotificationConfig": config}}, {"id": "d", **config}):
        assert (await agent.client.post(path, json=body)).status_code == 200
    got = [(await agent.client.get(f"{path}/{each}")).json() for each in "cd"]

    assert [each["pushNotificationConfig"] for each in got] == [{"id": each, **config} for each in "cd"]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://224.0.0.1/",
        "http://93.184.216.34/",
        "ftp://93.184.216.34/",
        "https://user:pass@93.184.216.34/",
        "https://93.184.216.34:0/",
        "https://93.184.216.34/\r\nX-Evil: 1",
        "https://93.184.216.34/a b",
        "https:///path",
        "/path",
        "",
        "https://" + "a" * 5000,
    ],
)
async def test_a_url_that_leads_inside_is_refused_when_it_is_set(serve: Any, url: str) -> None:
    agent = await serve()
    task = await agent.send("ask")

    answer = await agent.rpc("CreateTaskPushNotificationConfig", {"taskId": task["id"], "url": url})
    begun = await begin(agent, url=url)

    assert (answer["error"]["code"], begun["error"]["code"]) == (-32602, -32602)
    assert (await agent.rpc("ListTasks"))["result"]["totalSize"] == 1


async def test_a_public_address_and_a_name_that_is_not_known_yet_are_taken(serve: Any) -> None:
    agent = await serve()
    task = await agent.send("ask")

    for url in ("https://93.184.216.34/hook", "https://no-such-host.invalid/hook"):
        answer = await agent.rpc("CreateTaskPushNotificationConfig", {"taskId": task["id"], "url": url})
        assert answer["result"]["url"] == url


@pytest.mark.parametrize("field", ["token", "credentials", "scheme"])
async def test_line_breaks_in_what_becomes_a_header_are_refused(serve: Any, field: str) -> None:
    agent = await serve()
    task = await agent.send("ask")
    config: dict[str, Any] = {"taskId": task["id"], "url": "https://93.184.216.34/", "authentication": dict(SECRET)}
    (config if field == "token" else config["authentication"])[field] = "a\r\nX-Evil: 1"

    answer = await agent.rpc("CreateTaskPushNotificationConfig", config)

    assert answer["error"]["code"] == -32602


async def test_an_address_is_looked_up_again_when_there_is_something_to_post(
    serve: Any, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await serve()
    answers = iter(["93.184.216.34", "127.0.0.1"])
    looked_up = asyncio.Event()

    async def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        address = next(answers)
        if address == "127.0.0.1":
            looked_up.set()
        return [(2, 1, 6, "", (address, 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    await begin(agent, url=hook.url.replace("http://127.0.0.1", "https://rebind.example"))

    await looked_up.wait()
    await agent.server._pusher.stop(1)
    assert hook.got.empty()


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    policy = PushPolicy(allow_loopback=True)

    target = await resolve(split_url("http://localhost:8080/x", policy), policy, timeout_s=1)

    assert target is not None
    assert (target.host, target.port) == ("localhost", 8080)
    assert target.address in ("127.0.0.1", "::1")


async def test_a_private_address_has_to_be_allowed() -> None:
    private = split_url("https://10.1.2.3/", PushPolicy())

    with pytest.raises(ProtocolError):
        await resolve(private, PushPolicy(allow_loopback=True), timeout_s=1)
    assert await resolve(private, PushPolicy(allow_private=True), timeout_s=1)
    link_local = split_url("https://169.254.169.254/", PushPolicy())
    with pytest.raises(ProtocolError):
        await resolve(link_local, PushPolicy(allow_private=True), timeout_s=1)


async def test_a_task_has_so_many_configurations(serve: Any) -> None:
    agent = await serve(limits=ServerLimits(max_push_configs=1, push=PushPolicy(allow_loopback=True)))
    task = await agent.send("ask")
    config = {"taskId": task["id"], "url": "https://127.0.0.1/"}

    codes = [(await agent.rpc("CreateTaskPushNotificationConfig", config)).get("error", {}).get("code") for _ in "ab"]

    assert codes == [None, -32053]
