"""Streams over real connections: order, back-pressure, taking up again, leaving."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from penguiflow import Context, Node, create
from penguiflow_a2a.server import ServerLimits

DONE = "TASK_STATE_COMPLETED"


def params(text: str, **message: Any) -> dict[str, Any]:
    return {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}], **message}}


async def collect(events: Any, count: int | None = None) -> list[dict[str, Any]]:
    found = []
    async for event in events:
        found.append(event)
        if len(found) == count:
            break
    return found


def texts(events: list[dict[str, Any]]) -> str:
    updates = [event["result"].get("artifactUpdate") for event in events]
    return "".join(update["artifact"]["parts"][0]["text"] for update in updates if update)


def final_state(events: list[dict[str, Any]]) -> str:
    state: str = events[-1]["result"]["statusUpdate"]["status"]["state"]
    return state


async def test_a_stream_begins_with_the_task_and_ends_with_its_last_state(serve_for_real: Any) -> None:
    agent = await serve_for_real()

    async with agent.stream("SendStreamingMessage", params("stream 3")) as events:
        found = await collect(events)

    kinds = [next(iter(event["result"])) for event in found]
    assert kinds == ["task", "statusUpdate", *["artifactUpdate"] * 3, "statusUpdate"]
    assert [int(event["id"]) for event in found] == [0, 1, 2, 3, 4, 5]
    updates = [event["result"]["artifactUpdate"] for event in found[2:5]]
    assert [(each.get("append", False), each.get("lastChunk", False)) for each in updates] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert final_state(found) == DONE


async def test_version_0_3_streams_kinds_and_says_what_is_final(serve_for_real: Any) -> None:
    agent = await serve_for_real()
    message = {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "stream 2"}]}

    async with agent.stream("message/stream", {"message": message}) as events:
        found = [event["result"] for event in await collect(events)]

    assert [each["kind"] for each in found] == ["task", "status-update", *["artifact-update"] * 2, "status-update"]
    assert [each.get("final") for each in found] == [None, False, None, None, True]
    assert found[3]["append"] is True


async def test_http_json_streams_bare_events(serve_for_real: Any) -> None:
    agent = await serve_for_real()
    headers = {"a2a-version": "1.0"}

    async with agent.client.stream("POST", "/message:stream", json=params("stream 1"), headers=headers) as response:
        lines = [line async for line in response.aiter_lines() if line.startswith("data: ")]

    assert response.headers["content-type"].startswith("text/event-stream")
    assert lines[0].startswith('data: {"task":')


async def test_http_json_of_0_3_names_its_events_and_has_what_json_rpc_has(serve_for_real: Any) -> None:
    agent = await serve_for_real()
    message = {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "stream 2"}]}

    text = (await agent.client.post("/v1/message:stream", json={"message": message})).text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    named = [next(iter(event.items())) for event in events]

    assert [name for name, _ in named] == ["task", "statusUpdate", "artifactUpdate", "artifactUpdate", "statusUpdate"]
    assert all(event == {name: content, **content} for event, (name, content) in zip(events, named, strict=True))


async def test_every_chunk_arrives_in_order(serve_for_real: Any) -> None:
    agent = await serve_for_real()

    async with agent.stream("SendStreamingMessage", params("stream 3000")) as events:
        found = await collect(events)

    assert texts(found) == "".join(f"{number} " for number in range(3000))


async def test_two_streams_of_a_task_see_the_same_events(serve_for_real: Any) -> None:
    agent = await serve_for_real()
    async with agent.stream("SendStreamingMessage", params("wait here")) as events:
        first = await collect(events, 2)
        task_id = first[0]["result"]["task"]["id"]
        async with agent.stream("SubscribeToTask", {"id": task_id}) as others:
            snapshot = await anext(others)
            agent.gates["here"].set()
            seen, also_seen = await collect(events), await collect(others)

    assert snapshot["result"]["task"]["status"]["state"] == "TASK_STATE_WORKING"
    assert seen == also_seen
    assert final_state(seen) == DONE


@pytest.mark.parametrize("method", ["SubscribeToTask", "tasks/resubscribe"])
async def test_an_ended_task_cannot_be_followed(serve_for_real: Any, method: str) -> None:
    agent = await serve_for_real()
    task = await agent.send("hello")

    response = await agent.rpc(method, {"id": task["id"]})

    assert response["error"]["code"] == -32004


async def test_a_task_that_waits_for_its_client_is_followed_into_its_next_turn(serve_for_real: Any) -> None:
    agent = await serve_for_real()
    task = await agent.send("ask")

    async with agent.stream("SubscribeToTask", {"id": task["id"]}) as events:
        await anext(events)
        await agent.send("go on", taskId=task["id"])
        found = await collect(events)

    assert final_state(found) == DONE


async def test_a_client_that_leaves_does_not_cancel_its_task(serve_for_real: Any) -> None:
    agent = await serve_for_real()
    async with agent.stream("SendStreamingMessage", params("wait here")) as events:
        task_id = (await anext(events))["result"]["task"]["id"]
        await agent.gates.setdefault("here began", asyncio.Event()).wait()

    agent.gates["here"].set()

    await agent.reaches(task_id, DONE)


async def test_a_client_that_asked_for_it_cancels_its_task_by_leaving(serve_for_real: Any) -> None:
    agent = await serve_for_real()
    metadata = {"penguiflow": {"cancelOnDisconnect": True}}

    async with agent.stream("SendStreamingMessage", params("wait here", metadata=metadata)) as events:
        task_id = (await anext(events))["result"]["task"]["id"]

    await agent.reaches(task_id, "TASK_STATE_CANCELED")


async def test_a_dropped_stream_goes_on_where_it_was_left(serve_for_real: Any) -> None:
    agent = await serve_for_real()
    async with agent.stream("SendStreamingMessage", params("stream 500")) as events:
        first = await collect(events, 50)
    task_id = first[0]["result"]["task"]["id"]

    async with agent.stream("SubscribeToTask", {"id": task_id}, last_event_id=first[-1]["id"]) as events:
        rest = await collect(events)

    assert [int(event["id"]) for event in first + rest] == list(range(503))
    assert texts(first + rest) == "".join(f"{number} " for number in range(500))


async def test_past_the_replay_log_comes_the_task_itself(serve_for_real: Any) -> None:
    agent = await serve_for_real(limits=ServerLimits(replay_events=10, stream_window=5))
    task = await agent.send("stream 100")

    async with agent.stream("SubscribeToTask", {"id": task["id"]}, last_event_id="3") as events:
        (only,) = await collect(events)

    whole = only["result"]["task"]
    assert whole["artifacts"][0]["parts"][0]["text"].endswith("99 ")
    assert whole["status"]["state"] == DONE
    assert int(only["id"]) == 102


async def test_a_client_that_had_everything_gets_the_ended_task_again(serve_for_real: Any) -> None:
    agent = await serve_for_real()
    task = await agent.send("hello")

    async with agent.stream("SubscribeToTask", {"id": task["id"]}, last_event_id="99") as events:
        (only,) = await collect(events)

    assert only["result"]["task"]["id"] == task["id"]


async def test_a_slow_reader_slows_the_node_and_loses_nothing(serve_for_real: Any) -> None:
    made = 0

    async def act(text: str, ctx: Context) -> None:
        nonlocal made
        for made in range(2000):  # noqa: B007  How far it has come is looked at from outside.
            await ctx.emit_chunk("s", text="x" * 10_000)

    agent = await serve_for_real(create(Node(act).to(), queue_maxsize=4), limits=ServerLimits(stream_window=8))

    async with agent.stream("SendStreamingMessage", params("x")) as events:
        await collect(events, 3)
        at_first = await _steady(lambda: made)
        found = await collect(events)

    assert at_first < 1500
    assert len(texts(found)) > 1900 * 10_000
    assert made == 1999


async def test_a_reader_that_takes_nothing_is_dropped_and_the_task_goes_on(serve_for_real: Any) -> None:
    async def act(text: str, ctx: Context) -> str:
        for _ in range(2000):
            await ctx.emit_chunk("s", text="x" * 10_000)
        return "done"

    limits = ServerLimits(stream_window=8, slow_reader_s=0.3)
    agent = await serve_for_real(create(Node(act).to(), queue_maxsize=4), limits=limits)

    async with agent.stream("SendStreamingMessage", params("x")) as events:
        task_id = (await anext(events))["result"]["task"]["id"]
        await agent.reaches(task_id, DONE)
        with pytest.raises(httpx.HTTPError):
            await collect(events)


async def _steady(read: Any) -> Any:
    """Return a value once it has not changed for a while."""
    last = None
    while last != (last := read()):  # noqa: ASYNC110  What is waited for is that nothing happens.
        await asyncio.sleep(0.2)
    return last


async def test_a_quiet_stream_has_heartbeats(serve_for_real: Any) -> None:
    agent = await serve_for_real(limits=ServerLimits(heartbeat_s=0.05))
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": params("wait here")}

    async with agent.client.stream("POST", "/", json=body) as response:
        lines = response.aiter_lines()
        while await anext(lines) != ":":
            pass
        after = await anext(lines)
        agent.gates["here"].set()

    # An empty line would end an event, and several readers would then make an empty one of it.
    assert after == ":"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
async def test_text_with_line_breaks_of_unicode_stays_on_its_line(serve_for_real: Any, separator: str) -> None:
    agent = await serve_for_real()
    text = f"one{separator}two"

    async with agent.stream("SendStreamingMessage", params(text, metadata={text: text})) as events:
        task, _, artifact, _ = await collect(events)

    said = task["result"]["task"]["history"][0]
    assert (said["parts"], said["metadata"]) == ([{"text": text}], {text: text})
    assert artifact["result"]["artifactUpdate"]["artifact"]["parts"] == [{"text": f"did {text}"}]


async def test_an_owner_has_so_many_streams_at_once(serve_for_real: Any) -> None:
    agent = await serve_for_real(limits=ServerLimits(max_streams_per_owner=1))
    async with agent.stream("SendStreamingMessage", params("wait here")) as events:
        await anext(events)
        refused = await agent.rpc("SendStreamingMessage", params("wait here"))
        agent.gates["here"].set()

    assert refused["error"]["code"] == -32053


async def test_a_stream_ends_after_its_lifetime_and_the_task_does_not(serve_for_real: Any) -> None:
    agent = await serve_for_real(limits=ServerLimits(max_stream_s=0.1, heartbeat_s=0.05))

    async with agent.stream("SendStreamingMessage", params("wait here")) as events:
        found = await collect(events)

    assert len(found) == 2
    assert agent.server.active_tasks == 1
    agent.gates["here"].set()


async def test_a_server_that_stops_ends_its_streams_and_tells_the_state(serve_for_real: Any) -> None:
    agent = await serve_for_real()
    async with agent.stream("SendStreamingMessage", params("wait here")) as events:
        await collect(events, 2)
        stopping = asyncio.create_task(agent.server._engine.stop(0.1))
        found = await collect(events)
        await stopping

    assert final_state(found) == "TASK_STATE_FAILED"


async def test_streams_leave_nothing_behind(serve_for_real: Any) -> None:
    agent = await serve_for_real()
    for _ in range(5):
        async with agent.stream("SendStreamingMessage", params("stream 20")) as events:
            await collect(events, 3)
        async with agent.stream("SendStreamingMessage", params("stream 20")) as events:
            await collect(events)

    engine = agent.server._engine
    while engine._open_streams or engine.active:  # noqa: ASYNC110  The server unwinds in its own time.
        await asyncio.sleep(0.01)
    assert not engine._streams
    assert not any(live.log.subscriptions for live in engine._live.values())
