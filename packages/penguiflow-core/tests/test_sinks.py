"""Traces as a client sees them: Server-Sent Events and WebSocket messages."""

import asyncio
import json
from contextlib import aclosing
from typing import Any

import pytest

from penguiflow import Context, FlowDefinitionError, FlowError, FlowErrorCode, Message, ModelRegistry, Node, create
from penguiflow.sinks import client_events, send_events, sse_events


async def spell(word: str, ctx: Context) -> str:
    for letter in word:
        await ctx.emit_chunk(text=letter, done=letter == word[-1])
    return word.upper()


async def fail(word: str, ctx: Context) -> None:
    await ctx.emit_chunk(text="so far")
    raise ValueError("no such word")


async def wait_for_ever(word: str, ctx: Context) -> None:
    await ctx.emit_chunk(text="waiting")
    await asyncio.Event().wait()


def parsed(raw: bytes) -> dict[str, str]:
    assert raw.endswith(b"\n\n")
    return dict(line.split(": ", 1) for line in raw.decode().splitlines() if line)


async def test_a_trace_becomes_server_sent_events() -> None:
    async with create(Node(spell)) as flow:
        events = [parsed(raw) async for raw in sse_events(await flow.submit("ab"))]

    assert [event["event"] for event in events] == ["chunk", "chunk", "result"]
    assert [event.get("id") for event in events] == ["0", "1", None]
    assert [json.loads(event["data"]).get("text") for event in events[:2]] == ["a", "b"]
    assert json.loads(events[-1]["data"]) == {"results": [{"exit": "spell", "value": "AB"}]}


async def test_line_breaks_and_any_script_stay_within_an_event() -> None:
    text = "a\nb\r\n: c\u2028é🐧"
    async with create(Node(spell)) as flow:
        (raw, *_) = [raw async for raw in sse_events(await flow.submit([text]))]

    assert raw.count(b"\n") == 4
    assert json.loads(parsed(raw)["data"])["text"] == text


async def test_a_failed_trace_ends_in_one_error_event() -> None:
    async with create(Node(fail)) as flow:
        events = [parsed(raw) async for raw in sse_events(await flow.submit("x"))]

    assert [event["event"] for event in events] == ["chunk", "error"]
    assert json.loads(events[-1]["data"])["code"] == FlowErrorCode.NODE_EXCEPTION


async def test_the_text_of_an_exception_reaches_a_client_only_on_request() -> None:
    async def leak(message: object, ctx: Context) -> None:
        raise ValueError("password=hunter2")

    for show in (False, True):
        async with create(Node(leak)) as flow:
            events = [event async for event in client_events(await flow.submit("x"), show_exceptions=show)]
        assert ("hunter2" in str(events[-1].data)) is show
        assert events[-1].data["code"] == FlowErrorCode.NODE_EXCEPTION


async def test_a_client_is_told_which_field_of_its_payload_is_wrong() -> None:
    registry = ModelRegistry()
    registry.register("fail", int, int)
    async with create(Node(fail)).run(registry) as flow:
        (event,) = [event async for event in client_events(await flow.submit("many"))]
    assert event.data["code"] == FlowErrorCode.VALIDATION_FAILED
    assert "valid integer" in event.data["message"]


async def test_metadata_and_what_json_cannot_hold_are_not_sent() -> None:
    async def wrap(message: Message, ctx: Context) -> Message:
        return message.model_copy(update={"payload": {"kept": 1, "odd": object}})

    async with create(Node(wrap)) as flow:
        trace = await flow.submit(Message(payload="x", meta={"secret": "token"}))
        (raw,) = [raw async for raw in sse_events(trace)]

    assert b"token" not in raw
    assert json.loads(parsed(raw)["data"])["results"][0]["value"]["kept"] == 1


async def test_a_quiet_trace_is_kept_alive_and_loses_nothing() -> None:
    go = asyncio.Event()

    async def late(word: str, ctx: Context) -> str:
        await go.wait()
        return await spell(word, ctx)

    seen = []
    async with create(Node(late)) as flow:
        async for raw in sse_events(await flow.submit("abc"), heartbeat_s=0.01):
            seen.append(raw)
            if len(seen) == 3:
                go.set()

    assert seen[:3] == [b": \n\n"] * 3
    assert [parsed(raw)["event"] for raw in seen if raw != b": \n\n"] == ["chunk"] * 3 + ["result"]


@pytest.mark.parametrize("cancel_on_leave", [True, False])
async def test_a_client_that_leaves_cancels_the_trace_where_that_is_asked_for(cancel_on_leave: bool) -> None:
    async with create(Node(wait_for_ever)) as flow:
        trace = await flow.submit("x")
        events = sse_events(trace, cancel_on_leave=cancel_on_leave)
        async with aclosing(events):
            assert parsed(await anext(events))["event"] == "chunk"

        assert trace.done is cancel_on_leave
        await trace.cancel()


async def test_events_for_a_client_of_another_kind_cancel_the_trace_too() -> None:
    async with create(Node(wait_for_ever)) as flow:
        trace = await flow.submit("x")
        async with aclosing(client_events(trace, cancel_on_leave=True)) as events:
            assert (await anext(events)).data["text"] == "waiting"

        assert trace.done


async def test_a_client_that_leaves_lets_the_nodes_go_on() -> None:
    async with create(Node(spell), queue_maxsize=1) as flow:
        trace = await flow.submit("abcdef")
        events = sse_events(trace)
        async with aclosing(events):
            await anext(events)

        assert await trace.result() == "ABCDEF"


async def test_a_client_that_is_cut_off_while_it_waits_cancels_the_trace() -> None:
    async with create(Node(wait_for_ever)) as flow:
        trace = await flow.submit("x")
        first = asyncio.Event()

        async def serve() -> None:
            async for _ in sse_events(trace, cancel_on_leave=True):
                first.set()

        server = asyncio.create_task(serve())
        await first.wait()
        server.cancel()
        await asyncio.wait([server])

    assert trace.error is not None
    assert trace.error.code == FlowErrorCode.TRACE_CANCELLED


async def test_a_second_reader_is_refused_and_the_trace_goes_on() -> None:
    async with create(Node(spell), queue_maxsize=1) as flow:
        trace = await flow.submit("abc")
        reader = trace.chunks()
        await anext(reader)

        with pytest.raises(FlowError) as caught:
            await anext(sse_events(trace))

        assert caught.value.code == FlowErrorCode.CHUNKS_BUSY
        assert [chunk.text async for chunk in reader] == ["b", "c"]


async def test_a_websocket_gets_each_event_as_a_message() -> None:
    sent: list[str] = []

    async def send_text(text: str) -> None:
        sent.append(text)

    async with create(Node(spell)) as flow:
        await send_events(await flow.submit("ab"), send_text=send_text)

    assert [json.loads(text)["event"] for text in sent] == ["chunk", "chunk", "result"]
    assert json.loads(sent[0])["data"]["text"] == "a"


async def test_a_slow_websocket_slows_the_node_that_streams() -> None:
    made = 0
    ahead: list[int] = []

    async def stream(count: int, ctx: Context) -> None:
        nonlocal made
        for _ in range(count):
            await ctx.emit_chunk(text="x")
            made += 1

    async def send_json(message: Any) -> None:
        ahead.append(made - len(ahead))
        await asyncio.sleep(0)

    async with create(Node(stream), queue_maxsize=2) as flow:
        trace = await flow.submit(50)
        await send_events(trace, send_json=send_json)

    assert len(ahead) + trace.chunks_dropped == 51
    assert max(ahead[3:]) <= trace.chunks_dropped + 6


@pytest.mark.parametrize("cancel_on_leave", [True, False])
async def test_a_websocket_that_is_gone_says_so(cancel_on_leave: bool) -> None:
    async def send_text(text: str) -> None:
        raise ConnectionError("gone")

    async with create(Node(wait_for_ever)) as flow:
        trace = await flow.submit("x")
        with pytest.raises(ConnectionError, match="gone"):
            await send_events(trace, send_text=send_text, cancel_on_leave=cancel_on_leave)

        assert trace.done is cancel_on_leave
        await trace.cancel()


async def test_one_way_to_send_is_needed() -> None:
    async with create(Node(spell)) as flow:
        trace = await flow.submit("ab")
        with pytest.raises(FlowDefinitionError, match="either send_text or send_json"):
            await send_events(trace)
        with pytest.raises(FlowDefinitionError, match="heartbeat_s=0"):
            await anext(sse_events(trace, heartbeat_s=0))
