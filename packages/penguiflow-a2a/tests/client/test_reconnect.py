"""Streams that break, and how they are taken up again: without loss, and without anything twice."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from scripted import (
    CARD_03,
    HASTY,
    Answer,
    Talk,
    chunks,
    collect,
    fails,
    returns,
    serving,
    status,
    streams,
    task,
    text,
)

from penguiflow import InMemoryStateStore, Message, RemoteNode, Trace, create
from penguiflow_a2a import A2AClientTransport, AgentMisbehaved, AgentTooSlow, AgentUnreachable, TaskUnknown

STREAM, SEND, GET, SUBSCRIBE = "SendStreamingMessage", "SendMessage", "GetTask", "SubscribeToTask"
WORKING = {"task": task("WORKING")}


def numbered(*events: tuple[str, Any], cut: bool = False) -> Answer:
    """Answer with a stream of events that have ids, and end it or break it."""

    async def answer(talk: Talk) -> None:
        await talk.stream()
        for event_id, event in events:
            await talk.event(event, event_id)
        if cut:
            # What was written must not be lost with the connection.
            await asyncio.sleep(0.02)
            talk.cut()
        await talk.end()

    return answer


@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_with_ids_goes_on_after_the_last_one(cut: bool) -> None:
    answers = {
        STREAM: numbered(("1", WORKING), ("2", text("a")), cut=cut),
        SUBSCRIBE: numbered(("3", text("b")), ("4", status("COMPLETED"))),
    }
    async with serving(answers) as agent:
        parts = await collect(agent)

    assert agent.talks(SUBSCRIBE)[0].headers["last-event-id"] == "2"
    assert (chunks(parts), parts[-1]["result"]) == (["a", "b"], "ab")
    assert [part.get("position") for part in parts] == ["1", "2", "3", None, None]


async def test_a_stream_without_ids_goes_on_from_the_task_as_it_is() -> None:
    answers = {
        STREAM: streams(WORKING, text("a")),
        SUBSCRIBE: streams({"task": task("WORKING", "ab")}, text("c"), status("COMPLETED")),
        GET: returns(task("COMPLETED", "abc")),
    }
    async with serving(answers) as agent:
        parts = await collect(agent)

    assert (chunks(parts), parts[-1]["result"]) == (["a", "b", "c"], "abc")
    assert agent.names == [STREAM, SUBSCRIBE, GET]


async def test_the_result_is_whole_although_an_agent_repeats_what_its_snapshot_held() -> None:
    answers = {
        STREAM: streams(WORKING, text("a")),
        SUBSCRIBE: streams({"task": task("WORKING", "ab")}, text("b"), status("COMPLETED")),
        GET: returns(task("COMPLETED", "ab")),
    }
    async with serving(answers) as agent:
        parts = await collect(agent)

    assert parts[-1]["result"] == "ab"


async def test_an_artifact_that_was_replaced_meanwhile_is_a_stream_of_its_own() -> None:
    answers = {
        STREAM: streams(WORKING, text("draft")),
        SUBSCRIBE: streams({"task": task("WORKING", "final")}, status("COMPLETED")),
        GET: returns(task("COMPLETED", "final")),
    }
    async with serving(answers) as agent:
        parts = await collect(agent)

    said = [(part["stream_id"], part["text"]) for part in parts if part["kind"] == "chunk" and part["text"]]
    assert said == [("a", "draft"), ("a#1", "final")]
    assert parts[-1]["result"] == "final"


async def test_a_task_that_ended_meanwhile_gives_its_result() -> None:
    answers = {STREAM: streams(WORKING, text("a")), SUBSCRIBE: fails(-32004), GET: returns(task("COMPLETED", "ab"))}
    async with serving(answers) as agent:
        parts = await collect(agent)

    assert (chunks(parts), parts[-1]["result"], agent.names) == (["a", "b"], "ab", [STREAM, SUBSCRIBE, GET])


async def test_an_agent_that_begins_with_no_snapshot_is_asked_for_the_task() -> None:
    answers = {
        STREAM: streams(WORKING, text("a")),
        SUBSCRIBE: streams(text("c"), ends=False),
        GET: [returns(task("WORKING", "abc")), returns(task("COMPLETED", "abcd"))],
    }
    async with serving(answers) as agent:
        parts = await collect(agent)

    assert (chunks(parts), parts[-1]["result"]) == (["a", "bc", "d"], "abcd")


async def test_in_version_0_3_the_task_is_asked_for() -> None:
    working: dict[str, Any] = {"id": "task-1", "contextId": "c", "kind": "task", "status": {"state": "working"}}
    made = [{"artifactId": "a", "parts": [{"kind": "text", "text": "ab"}]}]
    ended = {**working, "status": {"state": "completed"}, "artifacts": made}
    answers = {"message/stream": streams(working), "tasks/get": [returns(working), returns(ended)]}
    async with serving(answers, CARD_03) as agent:
        parts = await collect(agent)

    assert (chunks(parts), parts[-1]["result"]) == (["ab"], "ab")
    assert agent.names == ["message/stream", "tasks/get", "tasks/get"]


async def test_an_agent_that_is_gone_for_a_moment_is_waited_for() -> None:
    async def cut(talk: Talk) -> None:
        talk.cut()

    again = streams({"task": task("WORKING", "ab")}, status("COMPLETED"))
    answers = {STREAM: streams(WORKING, text("a")), SUBSCRIBE: [cut, cut, again], GET: returns(task("COMPLETED", "ab"))}
    async with serving(answers) as agent:
        parts = await collect(agent)

    assert (chunks(parts), agent.names) == (["a", "b"], [STREAM, SUBSCRIBE, SUBSCRIBE, SUBSCRIBE, GET])


async def test_an_agent_that_stays_away_fails_the_call() -> None:
    async def cut(talk: Talk) -> None:
        talk.cut()

    async with serving({STREAM: streams(WORKING), SUBSCRIBE: cut}) as agent:
        with pytest.raises(AgentUnreachable) as caught:
            await collect(agent)

    assert (caught.value.task_id, caught.value.context_id) == ("task-1", "ctx-1")
    assert agent.names == [STREAM] + [SUBSCRIBE] * HASTY.retries


async def test_a_stream_that_falls_silent_is_taken_up_again() -> None:
    answers = {
        STREAM: streams(WORKING, text("a"), ends=False),
        SUBSCRIBE: streams({"task": task("COMPLETED", "ab")}),
        GET: returns(task("COMPLETED", "ab")),
    }
    async with serving(answers) as agent:
        parts = await collect(agent, timeouts=replace(HASTY, idle_s=0.1))

    assert (chunks(parts), parts[-1]["result"]) == (["a", "b"], "ab")


async def test_an_agent_that_never_says_anything_new_is_followed_as_long_as_a_call_may_take() -> None:
    async with serving({STREAM: streams(WORKING), SUBSCRIBE: streams(WORKING)}) as agent:
        with pytest.raises(AgentTooSlow, match="longer than call_s"):
            await collect(agent, timeouts=replace(HASTY, call_s=0.5))

    # Each time it waits longer.
    assert 2 <= len(agent.talks(SUBSCRIBE)) < 10


async def test_a_task_that_is_forgotten_fails_the_call() -> None:
    async with serving({STREAM: streams(WORKING), SUBSCRIBE: fails(-32001)}) as agent:
        with pytest.raises(TaskUnknown):
            await collect(agent)


async def test_a_stream_that_ends_before_it_names_a_task_is_an_error() -> None:
    async with serving({STREAM: streams()}) as agent:
        with pytest.raises(AgentMisbehaved, match="before it named a task"):
            await collect(agent)


async def test_another_process_takes_up_the_stream_after_a_part_that_it_knows() -> None:
    answers = {SUBSCRIBE: numbered(("3", text("b")), ("4", status("COMPLETED")))}
    async with serving(answers) as agent, A2AClientTransport(base_url=agent.url, timeouts=HASTY) as transport:
        parts = [part async for part in transport.resubscribe(agent.url, "task-1", "2")]

    assert agent.talks(SUBSCRIBE)[0].headers["last-event-id"] == "2"
    assert chunks(parts) == ["b"]


async def test_a_task_that_nobody_knows_is_a_lookup_error() -> None:
    async with serving({SUBSCRIBE: fails(-32001)}) as agent, A2AClientTransport(base_url=agent.url) as transport:
        with pytest.raises(LookupError):
            await anext(transport.resubscribe(agent.url, "task-1"))


class Lasting(InMemoryStateStore):
    """A store that outlives its process, and gets nothing of it from the moment it dies."""

    def __init__(self, kept: InMemoryStateStore) -> None:
        super().__init__()
        self.kept = kept
        self.dead = False

    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None:
        if not self.dead:
            await self.kept.save_event(trace_id, ts, kind, data)

    async def load_history(self, trace_id: str) -> Any:
        return await self.kept.load_history(trace_id)

    async def save_remote_binding(self, trace_id: str, context_id: str, task_id: str, agent_url: str) -> None:
        await self.kept.save_remote_binding(trace_id, context_id, task_id, agent_url)

    async def load_remote_bindings(self, trace_id: str) -> Any:
        return await self.kept.load_remote_bindings(trace_id)


class Process:
    """Runs a flow of one remote node, until it dies: then nothing of it reaches its store any more."""

    def __init__(self, url: str, kept: InMemoryStateStore) -> None:
        self.store = Lasting(kept)
        self.transport = A2AClientTransport(base_url=url, timeouts=HASTY)
        node = RemoteNode("far", transport=self.transport, skill="s", agent_url=url)
        self.flow = create(node, state_store=self.store)

    async def __aenter__(self) -> Trace:
        await self.flow.__aenter__()
        return await self.flow.submit(Message(payload="penguins", trace_id="t"))

    async def __aexit__(self, *exc_info: Any) -> None:
        self.store.dead = True
        await self.flow.stop(drain=False)
        await self.transport.aclose()


async def test_a_process_that_is_started_again_takes_up_the_stream_of_its_trace() -> None:
    answers = {
        STREAM: streams(WORKING, text("a"), ends=False),
        SUBSCRIBE: streams({"task": task("WORKING", "ab")}, text("c"), status("COMPLETED")),
        GET: returns(task("COMPLETED", "abc")),
        "CancelTask": fails(-32002),
    }
    store = InMemoryStateStore()
    async with serving(answers) as agent:
        async with Process(agent.url, store) as trace:
            assert (await anext(trace.chunks())).text == "a"
        agent.heard.clear()
        async with Process(agent.url, store) as trace:
            said = [chunk.text async for chunk in trace.chunks()]
            assert (await trace.result()).payload == "abc"

    assert agent.names == [SUBSCRIBE, GET]
    assert said == ["ab", "c", ""]
