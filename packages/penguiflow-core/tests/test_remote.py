"""Remote nodes against a transport that keeps its agents in this process."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import BaseModel

from penguiflow import (
    Context,
    FlowDefinitionError,
    FlowError,
    FlowErrorCode,
    FlowEvent,
    Message,
    ModelRegistry,
    Node,
    NodePolicy,
    PenguiFlow,
    TraceCancelled,
    create,
)
from penguiflow.errors import RemoteFailed
from penguiflow.remote import RemoteNode, RemoteTransport
from penguiflow.state import InMemoryStateStore

URL = "https://agent.example"
STREAMING = {"capabilities": {"streaming": True}}
DONE = {"result": "found", "context_id": "ctx-1", "task_id": "task-1", "state": "completed"}
WORKING = {"kind": "status", "state": "working", "context_id": "ctx-1", "task_id": "task-1"}


class LocalTransport:
    """Answers with what it was given; an exception among the parts is raised, an event is waited for."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts
        self.requests: list[dict[str, Any]] = []
        self.cancelled: list[tuple[str, str]] = []
        self.closed = 0
        self.reached = asyncio.Event()

    async def send(self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(message)
        answer: dict[str, Any] = await self._answer(self.parts[min(len(self.requests), len(self.parts)) - 1])
        return answer

    async def stream(
        self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        self.requests.append(message)
        try:
            for part in self.parts:
                yield await self._answer(part)
        finally:
            self.closed += 1

    async def cancel(self, agent_url: str, task_id: str) -> None:
        await asyncio.sleep(0)
        self.cancelled.append((agent_url, task_id))

    async def _answer(self, part: Any) -> Any:
        if isinstance(part, Exception):
            raise part
        if isinstance(part, asyncio.Event):
            self.reached.set()
            await part.wait()
        return part


def remote(transport: RemoteTransport, **options: Any) -> Node:
    return RemoteNode("search", transport=transport, skill="find", agent_url=URL, **options)


def never() -> asyncio.Event:
    return asyncio.Event()


async def ask(transport: RemoteTransport, message: Any = "penguins", **options: Any) -> Any:
    async with create(remote(transport, **options)) as flow:
        return await flow.ask(message)


async def test_an_agent_without_streaming_is_sent_to() -> None:
    transport = LocalTransport(DONE)

    assert await ask(transport) == "found"
    (request,) = transport.requests
    assert request["skill"] == "find"
    assert request["payload"] == "penguins"
    assert request["deadline_s"] is None


async def test_the_request_carries_trace_metadata_deadline_and_a_stable_id() -> None:
    transport = LocalTransport(ConnectionError("reset"), DONE)
    deadline_s = time.time() + 60
    message = Message(payload={"q": 1}, trace_id="t", meta={"cost": 2}, deadline_s=deadline_s)

    answer = await ask(transport, message, policy=NodePolicy(max_retries=1, backoff_base=0))

    first, second = transport.requests
    assert first == second
    assert (first["trace_id"], first["meta"], first["deadline_s"]) == ("t", {"cost": 2}, deadline_s)
    assert len(first["message_id"]) >= 16
    assert isinstance(answer, Message)
    assert (answer.payload, answer.meta, answer.trace_id) == ("found", {"cost": 2}, "t")


@pytest.mark.parametrize(
    ("card", "streams"),
    [
        (None, False),
        ({}, False),
        ({"capabilities": {"streaming": False}}, False),
        ({"capabilities": {"streaming": "yes"}}, False),
        (STREAMING, True),
        ({"capabilities": ["streaming"]}, True),
        ({"streaming": True}, True),
    ],
)
async def test_the_card_decides_whether_to_stream(card: dict[str, Any] | None, streams: bool) -> None:
    transport = LocalTransport({"kind": "result", **DONE})

    assert await ask(transport, agent_card=card) == "found"
    assert transport.closed == (1 if streams else 0)


async def test_the_caller_may_decide_in_place_of_the_card() -> None:
    transport = LocalTransport({"kind": "result", **DONE})

    await ask(transport, agent_card=STREAMING, streaming=False)

    assert transport.closed == 0


async def test_streamed_parts_become_chunks_and_the_value() -> None:
    parts = [{"kind": "chunk", "text": text, "done": text == "b", "meta": {"n": text}} for text in "ab"]
    transport = LocalTransport(WORKING, *parts, {"kind": "result", **DONE})
    async with create(remote(transport, agent_card=STREAMING)) as flow:
        trace = await flow.submit("penguins")
        chunks = [chunk async for chunk in trace.chunks()]

        assert await trace.result() == "found"
    assert [(chunk.text, chunk.seq, chunk.done, chunk.meta) for chunk in chunks] == [
        ("a", 0, False, {"n": "a"}),
        ("b", 1, True, {"n": "b"}),
    ]
    assert transport.closed == 1


async def test_streams_of_one_agent_stay_apart_and_start_anew_on_a_retry() -> None:
    parts = [{"kind": "chunk", "text": "x", "stream_id": stream, "done": True} for stream in "12"]
    flaky = LocalTransport(*parts, ConnectionError("reset"))
    node = remote(flaky, agent_card=STREAMING, policy=NodePolicy(max_retries=1, backoff_base=0))
    async with create(node) as flow:
        trace = await flow.submit("penguins")
        with pytest.raises(RemoteFailed, match="ConnectionError: reset"):
            await trace.result()
        chunks = trace.chunks()
        seen = {(await anext(chunks)).stream_id for _ in range(4)}

    assert len(seen) == 4


async def test_a_typed_result_is_validated() -> None:
    class Answer(BaseModel):
        text: str

    transport = LocalTransport({**DONE, "result": {"text": "found"}})
    registry = ModelRegistry()
    registry.register("search", str, Answer)
    async with create(remote(transport)).run(registry) as flow:
        assert await flow.ask("penguins") == Answer(text="found")


async def test_a_slow_reader_of_chunks_slows_the_agent() -> None:
    chunk = {"kind": "chunk", "text": "x"}
    transport = LocalTransport(*[chunk] * 50, {"kind": "result", **DONE})
    produced = 0

    async def counting(part: Any) -> Any:
        nonlocal produced
        produced += 1
        return part

    transport._answer = counting  # type: ignore[method-assign]
    async with create(remote(transport, agent_card=STREAMING), queue_maxsize=4) as flow:
        trace = await flow.submit("penguins")
        ahead = [produced async for _ in trace.chunks()]

    assert max(made - read for read, made in enumerate(ahead)) <= 8


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("text", "the answer is no object: 'text'"),
        ({}, "the answer has no 'state'"),
        ({"state": 7}, "the answer has no 'state'"),
        ({"state": "completed"}, "the answer has no 'result'"),
        ({**DONE, "task_id": 7}, "task_id of the answer is no string"),
        ({**DONE, "state": "working"}, "the task is 'working'"),
        ({**DONE, "state": "failed", "result": "no index"}, "the agent failed: 'no index'"),
        ({"state": "rejected"}, "the agent rejected the message"),
        ({"state": "cancelled"}, "the task was cancelled at the agent"),
        ({"state": "TASK_STATE_INPUT_REQUIRED"}, "the agent asks for more input"),
        (ConnectionError("refused"), "ConnectionError: refused"),
    ],
)
async def test_an_answer_that_is_no_result_fails_the_trace(answer: Any, said: str) -> None:
    with pytest.raises(RemoteFailed, match=said) as caught:
        await ask(LocalTransport(answer))

    assert caught.value.code == FlowErrorCode.REMOTE_FAILED
    assert (caught.value.node_name, caught.value.agent_url) == ("search", URL)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (["chunk"], "the answer is no object"),
        ({"text": "x"}, "neither chunk, status nor result"),
        ({"kind": "chunk", "text": 7}, "a chunk of the stream is not as agreed"),
        ({"kind": "chunk", "text": "x", "meta": {1: 2}}, "a chunk of the stream is not as agreed"),
        ({"kind": "status"}, "no 'state'"),
        ({"kind": "status", "state": "auth-required"}, "the agent asks for authentication"),
        (OSError("reset"), "OSError: reset"),
    ],
)
async def test_a_part_that_is_not_as_agreed_fails_the_trace(part: Any, said: str) -> None:
    transport = LocalTransport(part, {"kind": "result", **DONE})

    with pytest.raises(RemoteFailed, match=said):
        await ask(transport, agent_card=STREAMING)

    assert transport.closed == 1


async def test_a_stream_without_a_result_fails_the_trace() -> None:
    with pytest.raises(RemoteFailed, match="ended without a result") as caught:
        await ask(LocalTransport(WORKING), agent_card=STREAMING)

    assert caught.value.task_id == "task-1"


async def test_a_chunk_after_the_end_of_its_stream_fails_the_trace_and_cancels_the_task() -> None:
    chunk = {"kind": "chunk", "text": "x", "done": True}
    transport = LocalTransport(WORKING, chunk, chunk)

    with pytest.raises(RemoteFailed, match="after its stream was done"):
        await ask(transport, agent_card=STREAMING)

    assert transport.cancelled == [(URL, "task-1")]


async def test_an_agent_that_asks_for_more_says_where_to_answer() -> None:
    with pytest.raises(RemoteFailed) as caught:
        await ask(LocalTransport({**DONE, "state": "input-required", "result": "which year?"}))

    assert (caught.value.state, caught.value.context_id, caught.value.task_id) == ("input-required", "ctx-1", "task-1")


async def test_a_flow_error_of_the_transport_passes_as_it_is() -> None:
    with pytest.raises(FlowError) as caught:
        await ask(LocalTransport(FlowError(code="CARD_UNTRUSTED", message="bad signature")))

    assert (caught.value.code, caught.value.node_name) == ("CARD_UNTRUSTED", "search")


async def test_a_payload_that_is_no_json_is_refused_before_it_is_sent() -> None:
    transport = LocalTransport(DONE)

    with pytest.raises(RemoteFailed, match="cannot be sent as JSON"):
        await ask(transport, object())

    assert transport.requests == []


async def stopped_by_cancel(flow: PenguiFlow, transport: LocalTransport) -> FlowError:
    trace = await flow.submit("penguins")
    await transport.reached.wait()
    await trace.cancel()
    with pytest.raises(TraceCancelled) as caught:
        await trace.result()
    return caught.value


async def stopped_by_the_flow(flow: PenguiFlow, transport: LocalTransport) -> FlowError:
    trace = await flow.submit("penguins")
    await transport.reached.wait()
    await flow.stop(drain=False)
    with pytest.raises(FlowError) as caught:
        await trace.result()
    return caught.value


async def stopped_by_the_deadline(flow: PenguiFlow, transport: LocalTransport) -> FlowError:
    with pytest.raises(FlowError) as caught:
        await flow.ask(Message(payload="penguins", deadline_s=time.time() + 0.05))
    await flow.stop()
    return caught.value


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (stopped_by_cancel, FlowErrorCode.TRACE_CANCELLED),
        (stopped_by_the_flow, FlowErrorCode.FLOW_STOPPED),
        (stopped_by_the_deadline, FlowErrorCode.DEADLINE_EXCEEDED),
    ],
)
async def test_whatever_ends_the_trace_cancels_the_remote_task(stop: Callable[..., Any], code: str) -> None:
    transport = LocalTransport(WORKING, never())
    events: list[FlowEvent] = []
    async with create(remote(transport, agent_card=STREAMING), on_event=events.append) as flow:
        error = await stop(flow, transport)

    assert error.code == code
    assert transport.cancelled == [(URL, "task-1")]
    assert transport.closed == 1
    (called_off,) = [event for event in events if event.event_type == "remote_call_error"]
    assert (called_off.extra["code"], called_off.extra["remote_cancelled"]) == (code, True)
    assert called_off.extra["cancel_latency_ms"] >= 0


async def test_an_attempt_that_times_out_cancels_its_task_and_is_repeated() -> None:
    transport = LocalTransport(WORKING, never())
    policy = NodePolicy(timeout_s=0.02, max_retries=1, backoff_base=0)

    with pytest.raises(FlowError, match="timeout_s"):
        await ask(transport, agent_card=STREAMING, policy=policy)

    assert len(transport.requests) == len(transport.cancelled) == 2


async def test_a_call_whose_task_is_not_known_yet_is_dropped() -> None:
    transport = LocalTransport(never())
    async with create(remote(transport)) as flow:
        await stopped_by_cancel(flow, transport)

    assert transport.cancelled == []


class Deaf(LocalTransport):
    """An agent that takes no cancellation."""

    async def cancel(self, agent_url: str, task_id: str) -> None:
        await asyncio.Event().wait()


async def test_an_agent_that_takes_no_cancellation_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    transport = Deaf(WORKING, never())
    async with create(remote(transport, agent_card=STREAMING, cancel_timeout_s=0.02)) as flow:
        await stopped_by_cancel(flow, transport)

    assert "could not cancel task 'task-1' at https://agent.example" in caplog.text


class Impatient(LocalTransport):
    """A transport whose caller is cancelled a second time while it cancels."""

    async def stream(
        self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        self.caller = asyncio.current_task()
        async for part in super().stream(agent_url, agent_card, message):
            yield part

    async def cancel(self, agent_url: str, task_id: str) -> None:
        assert self.caller is not None
        self.caller.cancel()
        await super().cancel(agent_url, task_id)


async def test_a_second_cancellation_does_not_cut_the_first_one_short() -> None:
    transport = Impatient(WORKING, never())
    events: list[FlowEvent] = []
    async with create(remote(transport, agent_card=STREAMING), on_event=events.append) as flow:
        await stopped_by_cancel(flow, transport)

    assert transport.cancelled == [(URL, "task-1")]
    (called_off,) = [event for event in events if event.event_type == "remote_call_error"]
    assert called_off.extra["remote_cancelled"] is True


class CannotClose(LocalTransport):
    """A transport whose streams are iterators that cannot be closed, or do not close well."""

    def __init__(self, *parts: Any, closes: bool) -> None:
        super().__init__(*parts)
        self.closes = closes
        self.at = iter(parts)

    def stream(self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]) -> Any:
        return Broken(self.at) if self.closes else Bare(self.at)


class Bare:
    """The least a stream can be."""

    def __init__(self, parts: Any) -> None:
        self.parts = parts

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        return next(self.parts)


class Broken(Bare):
    """A stream that fails as it is closed."""

    async def aclose(self) -> None:
        raise OSError("already gone")


@pytest.mark.parametrize("closes", [True, False])
async def test_a_stream_that_does_not_close_well_spoils_no_result(
    closes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    transport = CannotClose(WORKING, {"kind": "result", **DONE}, closes=closes)

    assert await ask(transport, agent_card=STREAMING) == "found"
    assert ("already gone" in caplog.text) is closes


async def test_what_arrives_after_the_trace_has_ended_cancels_the_task() -> None:
    transport = LocalTransport(WORKING, "cancel", {"kind": "chunk", "text": "late"})
    flow = create(remote(transport, agent_card=STREAMING))

    async def end_trace(part: Any) -> Any:
        if part == "cancel":
            flow.cancel("t")
            return WORKING
        return part

    transport._answer = end_trace  # type: ignore[method-assign]
    async with flow:
        with pytest.raises(TraceCancelled):
            await flow.ask(Message(payload="penguins", trace_id="t"))

    assert transport.cancelled == [(URL, "task-1")]


async def test_a_result_that_is_no_json_still_counts() -> None:
    result = object()

    async with create(remote(LocalTransport({**DONE, "result": result})), on_event=lambda _: None) as flow:
        assert await flow.ask("penguins") is result


async def test_the_remote_task_is_noted_once_in_the_state_store() -> None:
    store = InMemoryStateStore()
    transport = LocalTransport(WORKING, WORKING, {"kind": "result", **DONE})
    async with create(remote(transport, agent_card=STREAMING), state_store=store) as flow:
        await flow.ask(Message(payload="penguins", trace_id="t"))

    bindings = await store.load_remote_bindings("t")
    assert bindings == [{"context_id": "ctx-1", "task_id": "task-1", "agent_url": URL}]


async def test_the_remote_task_of_a_subflow_is_noted_in_the_store_of_its_caller() -> None:
    def playbook() -> PenguiFlow:
        return create(remote(LocalTransport(DONE)), name="search")

    async def delegate(message: Message, ctx: Context) -> Any:
        return await ctx.call_playbook(playbook, message)

    store = InMemoryStateStore()
    async with create(Node(delegate), state_store=store) as flow:
        await flow.ask(Message(payload="penguins", trace_id="t"))

    assert [binding["task_id"] for binding in await store.load_remote_bindings("t")] == ["task-1"]
    assert "remote_call_end" in {event["kind"] for event in await store.load_history("t")}


class Unbinding(InMemoryStateStore):
    """A store that cannot save bindings."""

    async def save_remote_binding(self, trace_id: str, context_id: str, task_id: str, agent_url: str) -> None:
        raise OSError("disk full")


async def test_a_binding_that_cannot_be_saved_fails_the_trace_and_cancels_the_task() -> None:
    transport = LocalTransport(WORKING, never())
    async with create(remote(transport, agent_card=STREAMING), state_store=Unbinding()) as flow:
        with pytest.raises(FlowError, match="disk full") as caught:
            await flow.ask("penguins")

    assert caught.value.code == FlowErrorCode.STORE_FAILED
    assert transport.cancelled == [(URL, "task-1")]


async def test_events_tell_latency_bytes_and_the_remote_ids() -> None:
    events: list[FlowEvent] = []
    transport = LocalTransport(DONE)
    async with create(remote(transport), on_event=events.append) as flow:
        await flow.ask("penguins")

    start, end = [event for event in events if event.event_type.startswith("remote_call")]
    assert (start.event_type, end.event_type) == ("remote_call_start", "remote_call_end")
    assert start.extra["bytes_sent"] == end.extra["bytes_sent"] > 50
    assert end.extra["bytes_received"] > 50
    assert end.latency_ms is not None
    assert (end.extra["context_id"], end.extra["task_id"]) == ("ctx-1", "task-1")


async def test_a_remote_node_stands_between_others() -> None:
    async def shout(text: str, ctx: Context) -> str:
        return text.upper()

    search = remote(LocalTransport(DONE))
    async with create(search.to(Node(shout))) as flow:
        assert await flow.ask("penguins") == "FOUND"
    assert search.kind == "remote"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"transport": object()}, "lacks send, stream or cancel"),
        ({"skill": ""}, "skill of remote node 'search' is ''"),
        ({"agent_url": None}, "agent_url of remote node 'search' is None"),
        ({"cancel_timeout_s": 0}, "cancel_timeout_s=0"),
    ],
)
async def test_what_is_not_usable_is_refused(options: dict[str, Any], said: str) -> None:
    given = {"transport": LocalTransport(DONE), "skill": "find", "agent_url": URL, **options}

    with pytest.raises(FlowDefinitionError, match=said):
        RemoteNode("search", **given)
