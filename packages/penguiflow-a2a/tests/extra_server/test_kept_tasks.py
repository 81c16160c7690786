"""Tasks kept by a StateStore: they outlive the process, and any process can answer for them."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from penguiflow import Context, InMemoryStateStore, Node, PenguiFlow, create
from penguiflow_a2a._server import engine
from penguiflow_a2a.server import InputRequired, PushPolicy, ServerLimits, create_a2a_app, describe

from .conftest import Agent, make_flow  # type: ignore[import-not-found]


class FailingStore(InMemoryStateStore):
    """A store that cannot save some kinds of events."""

    def __init__(self, *kinds: str) -> None:
        super().__init__()
        self.kinds = kinds

    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None:
        if kind in self.kinds:
            raise OSError("no space left on device")
        await super().save_event(trace_id, ts, kind, data)


@pytest.mark.parametrize("text", ["hello", "stream 700", "ask", "fail"])
async def test_a_task_is_the_same_after_a_restart(serve: Any, text: str) -> None:
    store = InMemoryStateStore()
    before = await serve(store=store)
    task = await before.send(text)

    after = await serve(make_flow({}), store=store)

    assert await after.get(task["id"]) == await before.get(task["id"]) == task
    assert [each["id"] for each in (await after.rpc("ListTasks"))["result"]["tasks"]] == [task["id"]]


async def test_a_conversation_goes_on_after_a_restart(serve: Any) -> None:
    store = InMemoryStateStore()
    before = await serve(store=store)
    task = await before.send("ask")

    after = await serve(make_flow({}), store=store)
    done = await after.send("this one", taskId=task["id"], messageId="m-2")

    assert [each["parts"][0]["text"] for each in done["history"]] == ["ask", "which one?", "this one"]
    assert await before.get(task["id"]) != done


async def test_a_stream_is_taken_up_again_after_a_restart(serve_for_real: Any) -> None:
    store = InMemoryStateStore()
    before = await serve_for_real(store=store)
    task = await before.send("stream 50")

    after = await serve_for_real(make_flow({}), store=store)
    async with after.stream("SubscribeToTask", {"id": task["id"]}, last_event_id="7") as events:
        (only,) = [event async for event in events]

    assert only["result"]["task"] == task
    assert int(only["id"]) == 52


async def test_another_process_reads_a_task_while_it_is_at_work(serve: Any) -> None:
    store = InMemoryStateStore()
    first = await serve(store=store)
    second = await serve(make_flow({}), store=store)
    task = await first.send("wait here", now=True)
    await first.gates.setdefault("here began", asyncio.Event()).wait()

    seen = await second.reaches(task["id"], "TASK_STATE_WORKING")
    first.gates["here"].set()
    done = await second.reaches(task["id"], "TASK_STATE_COMPLETED")

    assert "artifacts" not in seen
    assert done["artifacts"][0]["parts"] == [{"text": "did wait here"}]


async def test_tasks_of_others_stay_unknown_after_a_restart(serve: Any) -> None:
    store = InMemoryStateStore()
    auth = {"auth": lambda headers: headers.get("x-user"), "store": store}
    before = await serve(**auth)
    before.client.headers["x-user"] = "ann"
    task = await before.send("hello")

    after = await serve(make_flow({}), **auth)
    after.client.headers["x-user"] = "bob"

    assert (await after.rpc("GetTask", {"id": task["id"]}))["error"]["code"] == -32001
    assert (await after.rpc("ListTasks"))["result"]["totalSize"] == 0


async def test_push_configurations_are_kept(serve: Any) -> None:
    store = InMemoryStateStore()
    limits = ServerLimits(push=PushPolicy(allow_loopback=True))
    before = await serve(store=store, limits=limits)
    task = await before.send("ask")
    for config_id in "ab":
        config = {"taskId": task["id"], "id": config_id, "url": "https://127.0.0.1/"}
        await before.rpc("CreateTaskPushNotificationConfig", config)
    await before.rpc("DeleteTaskPushNotificationConfig", {"taskId": task["id"], "id": "a"})

    after = await serve(make_flow({}), store=store, limits=limits)
    listed = (await after.rpc("ListTaskPushNotificationConfigs", {"taskId": task["id"]}))["result"]["configs"]

    assert [each["id"] for each in listed] == ["b"]


@pytest.mark.parametrize("kind", ["a2a.task", "a2a.status", "a2a.artifact"])
async def test_a_task_that_cannot_be_kept_is_not_answered_as_if_it_were(serve: Any, kind: str) -> None:
    agent = await serve(store=FailingStore(kind))

    answer = await agent.rpc(
        "SendMessage", {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]}}
    )

    assert answer["error"]["code"] == -32603
    assert "space" not in str(answer)
    assert agent.server.active_tasks == 0


async def test_pieces_that_wait_together_are_saved_together(serve: Any) -> None:
    store = InMemoryStateStore()
    agent = await serve(store=store)

    task = await agent.send("stream 2000")

    kinds = [each["kind"] for each in await store.load_history(f"a2a-task:{task['id']}")]
    assert kinds.count("a2a.chunk") < 200
    assert task["artifacts"][0]["parts"][0]["text"].endswith("1999 ")


async def test_a_task_at_work_elsewhere_is_followed_through_the_store(serve_for_real: Any) -> None:
    gate = asyncio.Event()

    async def act(text: str, ctx: Context) -> str:
        await ctx.emit_chunk("s", text="one ")
        await gate.wait()
        await ctx.emit_chunk("s", text="two", done=True)
        return "result"

    store = InMemoryStateStore()
    first = await serve_for_real(create(Node(act).to()), store=store)
    second = await serve_for_real(make_flow({}), store=store)
    task = await first.send("x", now=True)
    await first.reaches(task["id"], "TASK_STATE_WORKING")

    async with second.stream("SubscribeToTask", {"id": task["id"]}) as events:
        found = [await anext(events)]
        gate.set()
        found += [event async for event in events]

    assert found[-1]["result"]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    seen = json.dumps(found)
    assert [seen.count(f'{{"text": "{text}"}}') for text in ("one ", "two", "result")] == [1, 1, 1]
    assert int(found[-1]["id"]) == 5


async def a_task_at_work_elsewhere(serve: Any, gate: asyncio.Event, **limits: Any) -> tuple[Any, dict[str, Any]]:
    """Have a task at work in one process until the gate opens; another one, and a message to the task."""

    async def act(text: str, ctx: Context) -> InputRequired:
        await gate.wait()
        return InputRequired("which?")

    store = InMemoryStateStore()
    first = await serve(create(Node(act).to()), store=store)
    second = await serve(make_flow({}), store=store, limits=ServerLimits(**limits))
    task = await first.send("x", now=True)
    await second.reaches(task["id"], "TASK_STATE_WORKING")
    return second, {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}], "taskId": task["id"]}


async def test_a_message_waits_for_a_task_at_work_elsewhere(serve: Any) -> None:
    gate = asyncio.Event()
    second, message = await a_task_at_work_elsewhere(serve, gate)
    waiting = asyncio.create_task(second.rpc("SendMessage", {"message": message}))
    await asyncio.sleep(0)
    gate.set()

    task = (await waiting)["result"]["task"]

    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert [each["parts"][0]["text"] for each in task["history"]] == ["x", "which?", "hello"]


async def test_a_message_waits_no_longer_for_a_task_elsewhere_than_it_may(serve: Any) -> None:
    second, message = await a_task_at_work_elsewhere(serve, asyncio.Event(), max_turn_wait_s=0.05)

    answer = await second.rpc("SendMessage", {"message": message})

    assert answer["error"]["code"] == -32056


async def test_more_messages_than_may_wait_for_a_task_elsewhere_are_refused(serve: Any) -> None:
    gate = asyncio.Event()
    second, message = await a_task_at_work_elsewhere(serve, gate, max_queued_messages=1)
    calls = [asyncio.create_task(second.rpc("SendMessage", {"message": message})) for _ in range(2)]

    refused, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)

    assert [call.result()["error"]["code"] for call in refused] == [-32053]
    gate.set()
    await asyncio.wait(calls)


def a_durable_flow(gate: asyncio.Event, store: InMemoryStateStore) -> PenguiFlow:
    async def first(text: str, ctx: Context) -> str:
        return text

    async def second(text: str, ctx: Context) -> InputRequired:
        await gate.wait()
        return InputRequired(f"which {text}?")

    return create(Node(first).to(Node(second)), name="durable", state_store=store)


async def test_a_task_goes_on_in_another_process_with_its_recorded_trace(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, gate = InMemoryStateStore(), asyncio.Event()
    async with AsyncExitStack() as dying:
        flow = a_durable_flow(asyncio.Event(), store)
        app = create_a2a_app(flow, card=describe(flow, url="http://127.0.0.1:9"), store=store, drain_s=0.05)
        await dying.enter_async_context(app.router.lifespan_context(app))
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9")
        before = Agent(client, app.state.a2a, {})
        task = await before.send("one", now=True)
        await before.reaches(task["id"], "TASK_STATE_WORKING")

    after = await serve(a_durable_flow(gate, store), store=store)
    assert (await after.get(task["id"]))["status"]["state"] == "TASK_STATE_WORKING"
    await after.server.flow.resume(task["id"])
    monkeypatch.setattr(engine, "_ORPHANED_AFTER_S", -1.0)
    await after.get(task["id"])
    gate.set()

    done = await after.reaches(task["id"], "TASK_STATE_INPUT_REQUIRED")
    assert done["status"]["message"]["parts"] == [{"text": "which one?"}]


async def test_a_task_whose_process_died_is_failed_by_whoever_asks(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = InMemoryStateStore()
    first, second = await serve(store=store), await serve(make_flow({}), store=store)
    task = await first.send("wait here", now=True)
    await second.reaches(task["id"], "TASK_STATE_WORKING")

    monkeypatch.setattr(engine, "_ORPHANED_AFTER_S", -1.0)
    found = await second.get(task["id"])

    assert found["status"]["state"] == "TASK_STATE_FAILED"
    assert "stopped" in found["status"]["message"]["parts"][0]["text"]
