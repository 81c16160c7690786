"""Remote tasks that outlive the call: a process that died, a connection that was lost, a last attempt that failed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguiflow import FlowError, FlowErrorCode, Message, NodePolicy, RemoteFailed, RemoteNode, TraceCancelled, create
from penguiflow._remote_task import REMOTE_TASK, fingerprint
from penguiflow.remote import ResumableTransport
from penguiflow.state import InMemoryStateStore

URL = "https://agent.example"
WORKING = {"kind": "status", "state": "working", "context_id": "c", "task_id": "task-1"}
DONE = {"kind": "result", "result": "found", "context_id": "c", "task_id": "task-1", "state": "completed"}
ONCE_MORE = NodePolicy(max_retries=1, backoff_base=0)


class Resumable:
    """Streams one list of parts, and another to whoever takes the task up again."""

    def __init__(self, *parts: Any, again: list[Any] | None = None) -> None:
        self.parts = parts
        self.again = [DONE] if again is None else again
        self.calls: list[str] = []
        self.reached = asyncio.Event()

    async def send(self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        self.calls.append("send")
        return DONE

    async def stream(
        self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        self.calls.append("stream")
        for part in self.parts:
            yield await self.answer(part)

    async def resubscribe(
        self, agent_url: str, task_id: str, after: str | None = None, agent_card: dict[str, Any] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        self.calls.append(f"resubscribe {task_id}")
        for part in self.again:
            yield await self.answer(part)

    async def cancel(self, agent_url: str, task_id: str) -> None:
        self.calls.append(f"cancel {task_id}")

    async def answer(self, part: Any) -> dict[str, Any]:
        if isinstance(part, Exception):
            raise part
        if part == "wait":
            self.reached.set()
            await asyncio.Event().wait()
        answer: dict[str, Any] = part
        return answer


async def ask(transport: ResumableTransport, store: InMemoryStateStore | None = None, **options: Any) -> Any:
    node = RemoteNode("search", transport=transport, skill="find", agent_url=URL, **options)
    async with create(node, state_store=store) as flow:
        return (await flow.ask(Message(payload="penguins", trace_id="t"))).payload


async def crash(transport: Resumable, store: InMemoryStateStore) -> None:
    """Leave behind in `store` what a process that dies during the call leaves: a task that no event has ended."""
    lasting = InMemoryStateStore()
    node = RemoteNode("search", transport=transport, skill="find", agent_url=URL)
    async with create(node, state_store=lasting) as flow:
        trace = await flow.submit(Message(payload="penguins", trace_id="t"))
        await transport.reached.wait()
        await trace.cancel()
    for event in await lasting.load_history("t"):
        if event["kind"] in ("remote_call_start", REMOTE_TASK):
            await store.save_event("t", event["ts"], event["kind"], event["data"])
    for binding in await lasting.load_remote_bindings("t"):
        await store.save_remote_binding("t", **binding)


async def test_a_restarted_process_takes_up_the_task_and_sends_nothing() -> None:
    store = InMemoryStateStore()
    await crash(Resumable(WORKING, "wait"), store)
    transport = Resumable(WORKING, DONE)

    assert await ask(transport, store) == "found"
    assert transport.calls == ["resubscribe task-1"]
    assert "core.remote_resumed" in {event["kind"] for event in await store.load_history("t")}


async def test_a_task_that_the_agent_has_forgotten_is_sent_again() -> None:
    store = InMemoryStateStore()
    await crash(Resumable(WORKING, "wait"), store)
    transport = Resumable({**DONE, "task_id": "task-2"}, again=[KeyError("task-1")])

    assert await ask(transport, store) == "found"
    assert transport.calls == ["resubscribe task-1", "stream"]


async def test_a_call_that_ended_is_made_again_under_the_same_trace_id() -> None:
    store = InMemoryStateStore()
    transport = Resumable(WORKING, DONE)

    await ask(transport, store)
    await ask(transport, store)

    assert transport.calls == ["stream", "stream"]


async def test_a_task_for_another_payload_is_left_alone() -> None:
    store = InMemoryStateStore()
    await crash(Resumable(WORKING, "wait"), store)
    (noted,) = [event["data"] for event in await store.load_history("t") if event["kind"] == REMOTE_TASK]
    transport = Resumable(DONE)
    node = RemoteNode("search", transport=transport, skill="find", agent_url=URL)

    async with create(node, state_store=store) as flow:
        await flow.ask(Message(payload="whales", trace_id="t"))

    assert transport.calls == ["stream"]
    assert noted["fingerprint"] == fingerprint({"skill": "find", "payload": "penguins"})


async def test_a_retry_takes_up_the_task_that_a_lost_connection_left() -> None:
    transport = Resumable(WORKING, ConnectionError("reset"))

    assert await ask(transport, InMemoryStateStore(), policy=ONCE_MORE) == "found"
    assert transport.calls == ["stream", "resubscribe task-1"]


async def test_without_a_store_a_retry_sends_again() -> None:
    transport = Resumable(WORKING, ConnectionError("reset"))

    with pytest.raises(RemoteFailed, match="reset"):
        await ask(transport, policy=ONCE_MORE)

    assert transport.calls == ["stream", "stream", "cancel task-1"]


async def test_the_last_attempt_that_fails_leaves_no_task_at_work() -> None:
    transport = Resumable(WORKING, ConnectionError("reset"), again=[WORKING, ConnectionError("gone")])

    with pytest.raises(RemoteFailed, match="gone"):
        await ask(transport, InMemoryStateStore(), policy=ONCE_MORE)

    assert transport.calls == ["stream", "resubscribe task-1", "cancel task-1"]


async def test_an_agent_that_forgets_its_task_half_way_has_failed() -> None:
    store = InMemoryStateStore()
    await crash(Resumable(WORKING, "wait"), store)

    with pytest.raises(RemoteFailed, match="KeyError"):
        await ask(Resumable(again=[WORKING, KeyError("task-1")]), store)


async def test_a_task_that_is_taken_up_is_cancelled_with_its_trace() -> None:
    store = InMemoryStateStore()
    await crash(Resumable(WORKING, "wait"), store)
    transport = Resumable(again=["wait"])
    node = RemoteNode("search", transport=transport, skill="find", agent_url=URL)
    async with create(node, state_store=store) as flow:
        trace = await flow.submit(Message(payload="penguins", trace_id="t"))
        await transport.reached.wait()
        await trace.cancel()
        with pytest.raises(TraceCancelled):
            await trace.result()

    assert transport.calls == ["resubscribe task-1", "cancel task-1"]


async def test_the_caller_may_still_ask_to_send() -> None:
    transport = Resumable(DONE)

    await ask(transport, streaming=False)

    assert transport.calls == ["send"]


class CannotLoad(InMemoryStateStore):
    """A store that cannot say which tasks belong to a trace."""

    async def load_remote_bindings(self, trace_id: str) -> Any:
        raise OSError("no disk")


async def test_a_store_that_cannot_load_fails_the_trace_before_anything_is_sent() -> None:
    transport = Resumable(DONE)

    with pytest.raises(FlowError, match="no disk") as caught:
        await ask(transport, CannotLoad())

    assert (caught.value.code, transport.calls) == (FlowErrorCode.STORE_FAILED, [])
