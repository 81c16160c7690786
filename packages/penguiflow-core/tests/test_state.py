"""The state store in memory, alone and under a flow."""

import asyncio
from typing import Any

import pytest

from penguiflow import Context, FlowDefinitionError, FlowError, FlowErrorCode, Message, Node, create
from penguiflow._runtime import runtime
from penguiflow._runtime.store import BACKLOG_CAP
from penguiflow.state import InMemoryStateStore, StateStore


async def shout(message: Any, ctx: Context) -> Any:
    return message.model_copy(update={"payload": message.payload.upper()})


async def pass_on(message: Any, ctx: Context) -> Any:
    return message


def test_it_is_a_state_store() -> None:
    assert isinstance(InMemoryStateStore(), StateStore)


async def test_history_comes_back_in_the_order_in_which_it_was_written() -> None:
    store = InMemoryStateStore()
    await store.save_event("t", 2.0, "node_start", {"node_name": "a"})
    await store.save_event("t", 1.0, "node_end", {"node_name": "a"})

    assert await store.load_history("t") == [
        {"trace_id": "t", "ts": 2.0, "kind": "node_start", "data": {"node_name": "a"}},
        {"trace_id": "t", "ts": 1.0, "kind": "node_end", "data": {"node_name": "a"}},
    ]


async def test_an_unknown_trace_has_no_history() -> None:
    store = InMemoryStateStore()

    assert await store.load_history("nobody") == []
    assert await store.load_remote_bindings("nobody") == []


async def test_what_is_saved_does_not_change_with_its_source() -> None:
    store = InMemoryStateStore()
    data = {"targets": ["a"]}
    await store.save_event("t", 1.0, "emit", data)
    data["targets"].append("b")

    (event,) = await store.load_history("t")
    event["data"]["targets"].append("c")

    assert (await store.load_history("t"))[0]["data"] == {"targets": ["a"]}


async def test_what_json_cannot_hold_is_refused() -> None:
    store = InMemoryStateStore()

    with pytest.raises(TypeError, match="not JSON serializable"):
        await store.save_event("t", 1.0, "emit", {"payload": object()})

    assert await store.load_history("t") == []


async def test_a_binding_saved_twice_stands_once() -> None:
    store = InMemoryStateStore()
    for task_id in ("task-1", "task-2", "task-1"):
        await store.save_remote_binding("t", "ctx", task_id, "https://agent")

    assert [binding["task_id"] for binding in await store.load_remote_bindings("t")] == ["task-1", "task-2"]


async def test_beyond_its_bound_it_forgets_the_trace_written_to_longest_ago() -> None:
    store = InMemoryStateStore(max_traces=2)
    for trace_id in ("old", "kept", "kept", "new"):
        await store.save_event(trace_id, 1.0, "emit", {})
        await store.save_remote_binding(trace_id, "c", "t", "u")

    assert await store.load_history("old") == []
    assert await store.load_remote_bindings("old") == []
    assert len(await store.load_history("kept")) == 2


def test_a_bound_that_is_not_positive_is_refused() -> None:
    with pytest.raises(FlowDefinitionError, match="max_traces"):
        InMemoryStateStore(max_traces=0)


async def test_a_flow_writes_the_life_of_a_trace_without_its_metadata() -> None:
    store = InMemoryStateStore()
    flow = create(Node(shout, name="shout"), state_store=store)
    async with flow:
        answer = await flow.ask(Message(payload="hi", trace_id="t", meta={"secret": "token"}))

    history = await store.load_history("t")
    assert answer.payload == "HI"
    assert [event["kind"] for event in history] == ["emit", "node_start", "node_end", "emit", "fetch"]
    assert "token" not in repr(history)


class Slow(InMemoryStateStore):
    """A store that takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None:
        await self.go.wait()
        await super().save_event(trace_id, ts, kind, data)


async def test_a_store_that_is_far_behind_holds_up_new_traces_and_loses_nothing() -> None:
    store = Slow()
    async with create(Node(pass_on), state_store=store) as flow:
        for number in range(BACKLOG_CAP // 5):
            await flow.ask(Message(payload="x", trace_id=f"t-{number}"))
        held = asyncio.create_task(flow.ask(Message(payload="x", trace_id="held")))
        await asyncio.wait([held], timeout=0.05)
        assert not held.done()

        store.go.set()
        await held

    histories = [await store.load_history(f"t-{number}") for number in range(BACKLOG_CAP // 5)]
    assert {len(history) for history in [*histories, await store.load_history("held")]} == {5}


async def test_a_store_that_is_stuck_does_not_hold_up_a_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime, "_FLUSH_S", 0.02)
    async with create(Node(pass_on), state_store=Slow()) as flow:
        await flow.ask("x")

    assert "the state store did not take 5 events before the flow stopped" in caplog.text


class Broken(InMemoryStateStore):
    """A store that loses its disk at the first node."""

    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None:
        if kind == "node_start":
            raise OSError("disk full")
        await super().save_event(trace_id, ts, kind, data)


async def test_a_store_that_cannot_save_fails_the_trace(caplog: pytest.LogCaptureFixture) -> None:
    async def wait_for_ever(message: Any, ctx: Context) -> None:
        await asyncio.Event().wait()

    async with create(Node(wait_for_ever), state_store=Broken()) as flow:
        with pytest.raises(FlowError, match="could not save event 'node_start': OSError: disk full") as caught:
            await flow.ask("hi")

    assert caught.value.code == FlowErrorCode.STORE_FAILED
    assert "disk full" in caplog.text
