"""Tasks after their messages: read, listed, kept within bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penguiflow_a2a._server.records import TaskRecord
from penguiflow_a2a.server import MemoryTaskStore, ServerLimits
from penguiflow_a2a.types import ListTasksRequest, TaskState


@pytest.mark.parametrize(("length", "kept"), [(None, 3), (0, 0), (1, 1), (2, 2), (99, 3)])
async def test_a_history_is_cut_to_its_latest_messages(serve: Any, length: int | None, kept: int) -> None:
    agent = await serve()
    task = await agent.send("ask")
    await agent.send("done", taskId=task["id"], messageId="m-2")

    params = {"id": task["id"]} if length is None else {"id": task["id"], "historyLength": length}
    got = (await agent.rpc("GetTask", params))["result"]

    assert len(got.get("history", [])) == kept
    assert kept == 0 or got["history"][-1]["messageId"] == "m-2"


async def test_zero_is_no_limit_in_version_0_3(serve: Any) -> None:
    agent = await serve()
    task = await agent.send("hello")

    got = (await agent.rpc("tasks/get", {"id": task["id"], "historyLength": 0}))["result"]

    assert len(got["history"]) == 1


async def test_an_answer_holds_no_more_history_than_asked_for(serve: Any) -> None:
    agent = await serve()
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]}

    answer = await agent.rpc("SendMessage", {"message": message, "configuration": {"historyLength": 0}})

    assert "history" not in answer["result"]["task"]


async def test_lists_are_paged_with_those_that_changed_last_first(serve: Any) -> None:
    agent = await serve()
    ids = [(await agent.send(f"{number}"))["id"] for number in range(5)]

    seen, token, pages = [], "", 0
    while pages == 0 or token:
        page = (await agent.rpc("ListTasks", {"pageSize": 2, "pageToken": token}))["result"]
        seen += [task["id"] for task in page["tasks"]]
        token, pages = page["nextPageToken"], pages + 1
        assert (page["totalSize"], page["pageSize"]) == (5, 2)

    assert (seen, pages) == (ids[::-1], 3)


async def test_lists_are_filtered_and_leave_artifacts_out_unless_asked(serve: Any) -> None:
    agent = await serve()
    asked = await agent.send("ask", contextId="c")
    done = await agent.send("hello", contextId="c")
    await agent.send("hello", contextId="other")

    def ids(answer: dict[str, Any]) -> list[str]:
        return [task["id"] for task in answer["result"]["tasks"]]

    by_context = await agent.rpc("ListTasks", {"contextId": "c"})
    by_state = await agent.rpc("ListTasks", {"contextId": "c", "status": "TASK_STATE_INPUT_REQUIRED"})
    since = await agent.rpc("ListTasks", {"contextId": "c", "statusTimestampAfter": "2999-01-01T00:00:00Z"})
    whole = await agent.rpc("ListTasks", {"contextId": "c", "includeArtifacts": True, "historyLength": 0})

    assert (ids(by_context), ids(by_state), ids(since)) == ([done["id"], asked["id"]], [asked["id"]], [])
    assert not any("artifacts" in task for task in by_context["result"]["tasks"])
    assert [len(task["artifacts"]) for task in whole["result"]["tasks"]] == [1, 0]
    assert since["result"]["nextPageToken"] == ""


@pytest.mark.parametrize(("asked", "status"), [("true", 200), ("True", 200), ("yes", 400)])
async def test_artifacts_are_asked_for_in_a_query(serve: Any, asked: str, status: int) -> None:
    agent = await serve()
    await agent.send("hello")

    answer = await agent.client.get(f"/tasks?includeArtifacts={asked}", headers={"a2a-version": "1.0"})

    assert answer.status_code == status
    assert all(task["artifacts"] for task in answer.json().get("tasks", ()))


async def test_a_push_configuration_does_not_change_a_tasks_place_in_lists(serve: Any) -> None:
    agent = await serve()
    ids = [(await agent.send(f"{number}"))["id"] for number in range(4)]
    url = "https://93.184.216.34/"

    await agent.rpc("CreateTaskPushNotificationConfig", {"taskId": ids[0], "id": "c", "url": url})
    first = (await agent.rpc("ListTasks", {"pageSize": 2}))["result"]
    second = (await agent.rpc("ListTasks", {"pageSize": 2, "pageToken": first["nextPageToken"]}))["result"]

    assert [task["id"] for page in (first, second) for task in page["tasks"]] == ids[::-1]
    assert second["nextPageToken"] == ""


async def test_tasks_of_the_same_moment_are_each_on_one_page() -> None:
    store = MemoryTaskStore(ServerLimits(task_ttl_s=1e12))
    for name in "bca":
        await store.add(_record(0, name, TaskState.COMPLETED, owner="ann"))
    for record in store._all.values():
        record.updated_at = 5.0

    seen: list[str] = []
    token = ""
    while not seen or token:
        page = await store.find("ann", ListTasksRequest(page_size=1, page_token=token))
        seen += [record.id for record in page.records]
        token = page.next_token

    assert seen == ["c-0", "b-0", "a-0"]


async def test_a_page_is_not_shifted_by_tasks_that_come_between(serve: Any) -> None:
    agent = await serve()
    ids = [(await agent.send(f"{number}"))["id"] for number in range(4)]
    first = (await agent.rpc("ListTasks", {"pageSize": 2}))["result"]

    await agent.send("between")
    second = (await agent.rpc("ListTasks", {"pageSize": 2, "pageToken": first["nextPageToken"]}))["result"]

    assert [task["id"] for task in second["tasks"]] == ids[1::-1]


async def test_a_task_is_read_while_it_streams(serve: Any, flow_gates: dict[str, asyncio.Event]) -> None:
    from penguiflow import Context, Node, create

    gate, reached = asyncio.Event(), asyncio.Event()

    async def act(text: str, ctx: Context) -> None:
        await ctx.emit_chunk("s", text="one ")
        reached.set()
        await gate.wait()
        await ctx.emit_chunk("s", text='"two"\u2028', done=True)

    agent = await serve(create(Node(act).to()))
    task = await agent.send("x", now=True)
    await reached.wait()
    await asyncio.sleep(0)

    half = await agent.get(task["id"])
    gate.set()
    whole = await agent.reaches(task["id"], "TASK_STATE_COMPLETED")

    assert half["artifacts"][0]["parts"] == [{"text": "one "}]
    assert whole["artifacts"][0]["parts"] == [{"text": 'one "two"\u2028'}]


def _record(number: int, name: str, state: TaskState, owner: str = "") -> TaskRecord:
    record = TaskRecord(f"{name}-{number}", "c", owner or name)
    record.set_status(state)
    return record


async def test_the_memory_store_lets_go_of_what_settled_longest_ago() -> None:
    store = MemoryTaskStore(ServerLimits(max_tasks_per_owner=3, max_tasks=5))
    for number in range(10):
        await store.add(_record(number, "ann", TaskState.WORKING if number == 0 else TaskState.COMPLETED))
    for number in range(10):
        await store.add(_record(number, "bob", TaskState.COMPLETED))

    left = await store.find("ann", ListTasksRequest())

    assert len(store) == 5
    assert "ann-0" in [record.id for record in left.records]
    assert await store.get("bob", "ann-0") is None


async def test_the_memory_store_lets_go_of_what_is_old() -> None:
    store = MemoryTaskStore(ServerLimits(task_ttl_s=60))
    old, at_work = _record(1, "ann", TaskState.COMPLETED), _record(2, "ann", TaskState.WORKING)
    for record in (old, at_work):
        await store.add(record)
        record.updated_at -= 100

    assert await store.get("ann", old.id) is None
    assert await store.get("ann", at_work.id) is at_work
    assert (await store.find("ann", ListTasksRequest())).total == 1


@pytest.mark.timeout(900)
async def test_memory_stays_within_the_caps_after_many_tasks(serve: Any, scale: Any) -> None:
    agent = await serve(limits=ServerLimits(max_tasks_per_owner=50, replay_tasks=20))

    for number in range(scale(300, 100_000)):
        await agent.send(f"{number}")

    assert (await agent.rpc("ListTasks"))["result"]["totalSize"] == 50
    assert len(agent.server._engine._live) == 20
    assert agent.server.active_tasks == 0
