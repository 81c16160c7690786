"""What becomes of a message: a task, its states, its history, its artifacts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel

from penguiflow import Context, Node, create
from penguiflow import Message as FlowMessage
from penguiflow_a2a.server import Rejected, ServerLimits
from penguiflow_a2a.types import Artifact, Message, Part, Role

DONE = "TASK_STATE_COMPLETED"


def a_message(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}], **fields}


class Order(BaseModel):
    count: int


def flow_of(func: Any) -> Any:
    return create(Node(func, name="node").to(), name="flow")


async def test_a_message_is_answered_with_the_completed_task(serve: Any) -> None:
    agent = await serve()

    task = await agent.send("hello", contextId="c-1")

    assert task["status"]["state"] == DONE
    assert task["status"]["timestamp"].endswith("Z")
    assert task["artifacts"][0]["parts"] == [{"text": "did hello"}]
    assert task["contextId"] == "c-1"
    assert task["history"][0]["taskId"] == task["id"]


async def test_whoever_does_not_wait_gets_the_task_at_work(serve: Any) -> None:
    agent = await serve()

    task = await agent.send("wait here", now=True)

    assert task["status"]["state"] in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")
    agent.gates.setdefault("here", asyncio.Event()).set()


async def test_a_node_that_fails_fails_the_task_and_tells_no_secret(serve: Any) -> None:
    agent = await serve()

    task = await agent.send("fail")

    assert task["status"]["state"] == "TASK_STATE_FAILED"
    assert task["status"]["message"]["role"] == "ROLE_AGENT"
    assert "secret" not in str(task)


async def test_a_task_that_asks_goes_on_with_the_answer_and_keeps_the_conversation(serve: Any) -> None:
    agent = await serve()
    asked = await agent.send("ask")
    assert asked["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"

    again = await agent.send("ask", taskId=asked["id"], messageId="m-2")
    done = await agent.send("this one", taskId=asked["id"], messageId="m-3")

    assert (again["id"], done["id"], done["contextId"]) == (asked["id"], asked["id"], asked["contextId"])
    assert done["status"]["state"] == DONE
    said = [(message["role"], message["parts"][0]["text"]) for message in done["history"]]
    ours = ("ROLE_AGENT", "which one?")
    assert said == [("ROLE_USER", "ask"), ours, ("ROLE_USER", "ask"), ours, ("ROLE_USER", "this one")]


async def test_the_flow_sees_the_history_and_who_asks(serve: Any) -> None:
    agent = await serve(auth=lambda headers: headers.get("authorization"))
    agent.client.headers["authorization"] = "ann"
    asked = await agent.send("ask")

    task = await agent.send("meta", taskId=asked["id"], messageId="m-2", metadata={"skill": "s"})

    (part,) = task["artifacts"][0]["parts"]
    assert part["data"]["taskId"] == asked["id"]
    assert [each["role"] for each in part["data"]["history"]] == ["ROLE_USER", "ROLE_AGENT"]
    assert (part["data"]["principal"], part["data"]["skill"]) == ("ann", "s")


async def test_a_message_to_a_task_at_work_is_its_next_turn(serve: Any) -> None:
    agent = await serve()
    task = await agent.send("wait first", now=True)
    second = asyncio.create_task(agent.send("second", taskId=task["id"], messageId="m-2"))
    await agent.gates.setdefault("first began", asyncio.Event()).wait()

    agent.gates.setdefault("first", asyncio.Event()).set()

    done = await second
    assert [each["parts"][0]["text"] for each in done["artifacts"]] == ["did wait first", "did second"]


async def test_too_many_messages_to_a_task_at_work_are_refused(serve: Any) -> None:
    agent = await serve(limits=ServerLimits(max_queued_messages=1))
    task = await agent.send("wait x", now=True)
    await agent.gates.setdefault("x began", asyncio.Event()).wait()
    await agent.send("next", taskId=task["id"], now=True)

    response = await agent.rpc("SendMessage", {"message": a_message(taskId=task["id"])})

    assert response["error"]["code"] == -32053


async def test_an_ended_task_takes_no_more_messages(serve: Any) -> None:
    agent = await serve()
    task = await agent.send("hello")

    response = await agent.rpc("SendMessage", {"message": a_message(taskId=task["id"])})

    assert response["error"]["code"] == -32004


async def test_a_context_that_is_not_the_tasks_is_refused(serve: Any) -> None:
    agent = await serve()
    task = await agent.send("ask")

    response = await agent.rpc("SendMessage", {"message": a_message(taskId=task["id"], contextId="other")})

    assert response["error"]["code"] == -32602


async def test_an_unknown_task_is_not_begun(serve: Any) -> None:
    agent = await serve()

    response = await agent.rpc("SendMessage", {"message": a_message(taskId="mine")})

    assert response["error"]["code"] == -32001
    assert response["error"]["data"][0]["reason"] == "TASK_NOT_FOUND"


async def test_a_cancelled_task_stops_its_trace(serve: Any) -> None:
    began, unwound = asyncio.Event(), asyncio.Event()

    async def work(text: str, ctx: Context) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            unwound.set()

    agent = await serve(flow_of(work))
    task = await agent.send("x", now=True)
    await began.wait()

    response = await agent.rpc("CancelTask", {"id": task["id"]})

    assert response["result"]["status"]["state"] == "TASK_STATE_CANCELED"
    assert unwound.is_set()
    assert agent.server.active_tasks == 0


@pytest.mark.parametrize("text", ["ask", "hello"])
async def test_only_a_task_that_has_not_ended_can_be_cancelled(serve: Any, text: str) -> None:
    agent = await serve()
    task = await agent.send(text)

    response = await agent.rpc("CancelTask", {"id": task["id"]})

    if text == "ask":
        assert response["result"]["status"]["state"] == "TASK_STATE_CANCELED"
        response = await agent.rpc("CancelTask", {"id": task["id"]})
    assert response["error"]["code"] == -32002


async def test_a_node_may_reject_answer_in_words_or_give_artifacts(serve: Any) -> None:
    async def act(text: str, ctx: Context) -> Any:
        if text == "reject":
            return Rejected("no")
        if text == "speak":
            return Message(message_id="", role=Role.USER, parts=[Part(text="spoken")])
        return Artifact(artifact_id="a", parts=[Part(url="https://example.com/f")])

    agent = await serve(flow_of(act))

    rejected, spoken, made = [await agent.send(text) for text in ("reject", "speak", "make")]

    assert (rejected["status"]["state"], "artifacts" in rejected) == ("TASK_STATE_REJECTED", False)
    assert spoken["status"]["message"]["role"] == "ROLE_AGENT"
    assert spoken["status"]["message"]["messageId"]
    assert made["artifacts"] == [{"artifactId": "a", "parts": [{"url": "https://example.com/f"}]}]


async def test_a_node_that_takes_a_model_gets_it_or_the_client_is_told_the_field(serve: Any) -> None:
    async def act(order: Order, ctx: Context) -> Order:
        return Order(count=order.count + 1)

    agent = await serve(flow_of(act))

    done = await agent.rpc("SendMessage", {"message": a_message(parts=[{"data": {"count": 1}}])})
    wrong = await agent.rpc("SendMessage", {"message": a_message(parts=[{"data": {"count": "x"}}])})

    assert done["result"]["task"]["artifacts"][0]["parts"] == [{"data": {"count": 2}}]
    assert wrong["error"]["code"] == -32602
    assert wrong["error"]["data"][1]["fieldViolations"][0]["field"] == "message.parts.count"
    assert agent.server.active_tasks == 0


async def test_a_node_may_take_the_whole_message(serve: Any) -> None:
    async def act(message: Message, ctx: Context) -> str:
        return f"{len(message.parts)} parts of {message.message_id}"

    agent = await serve(flow_of(act))

    task = (await agent.rpc("SendMessage", {"message": a_message(parts=[{"text": "a"}, {"data": None}])}))["result"]

    assert task["task"]["artifacts"][0]["parts"][0]["text"] == "2 parts of m-1"


async def test_a_deadline_of_the_client_ends_the_trace(serve: Any) -> None:
    agent = await serve()

    task = await agent.send("wait for ever", metadata={"penguiflow": {"deadline": 1.0}})

    assert task["status"]["state"] == "TASK_STATE_FAILED"
    assert "DEADLINE_EXCEEDED" in task["status"]["message"]["parts"][0]["text"]


async def test_a_message_that_is_marked_as_repeated_begins_a_task_once(serve: Any) -> None:
    agent = await serve()
    first = await agent.send("hello", metadata={"penguiflow": {"traceId": "t"}})

    again = await agent.send("hello", metadata={"penguiflow": {"traceId": "t", "repeated": True}})
    retry = await agent.send("hello", metadata={"penguiflow": {"traceId": "t"}})

    assert first["id"] == again["id"] != retry["id"]


async def test_a_message_may_be_answered_without_a_task(serve: Any) -> None:
    async def act(message: FlowMessage, ctx: Context) -> FlowMessage:
        return message.model_copy(update={"payload": "at once"})

    agent = await serve(flow_of(act), answers=lambda message: "message")

    answer = (await agent.rpc("SendMessage", {"message": a_message()}))["result"]["message"]

    assert (answer["role"], answer["parts"]) == ("ROLE_AGENT", [{"text": "at once"}])
    assert answer["contextId"]
    assert (await agent.rpc("ListTasks"))["result"]["totalSize"] == 0


async def test_a_task_that_grows_too_large_fails(serve: Any) -> None:
    agent = await serve(limits=ServerLimits(max_task_bytes=2000))

    task = await agent.send("stream 5000")

    assert task["status"]["state"] == "TASK_STATE_FAILED"
    assert "grown beyond" in task["status"]["message"]["parts"][0]["text"]


async def test_a_number_that_is_too_large_for_json_leaves_the_answer_json(serve: Any) -> None:
    agent = await serve()
    body = json.dumps({"message": a_message("x", metadata={"n": 9}), "metadata": {"n": 9}}).replace("9", "9e999")
    headers = {"a2a-version": "1.0", "content-type": "application/json"}

    answer = await agent.client.post("/message:send", content=body, headers=headers)

    assert "Infinity" not in answer.text
    task = answer.json()["task"]
    assert task["metadata"] == task["history"][0]["metadata"] == {"n": None}
