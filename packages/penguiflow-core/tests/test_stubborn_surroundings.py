"""Listeners, stores, readers and stops that do what they should not."""

import asyncio
import logging

import pytest

from penguiflow import (
    Context,
    FlowError,
    FlowErrorCode,
    FlowEvent,
    FlowStopped,
    InMemoryStateStore,
    Node,
    StreamChunk,
    create,
)


class Escaped(BaseException):
    """Not an Exception."""


class CancelsOnce(InMemoryStateStore):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, object]) -> None:
        self.calls += 1
        if self.calls == 1:
            raise asyncio.CancelledError
        await super().save_event(trace_id, ts, kind, data)


async def passes(message: object, ctx: Context) -> object:
    return message


async def test_a_listener_may_raise_even_what_is_no_exception(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[FlowEvent] = []

    def listen(event: FlowEvent) -> None:
        seen.append(event)
        if len(seen) == 1:
            raise Escaped

    async with asyncio.timeout(4), create(Node(passes, "node"), on_event=listen) as flow:
        assert await flow.ask("x") == "x"
    assert len(seen) > 1
    assert "failed at" in caplog.text


async def test_a_store_that_raises_cancelled_error_goes_on_saving() -> None:
    store = CancelsOnce()
    async with asyncio.timeout(4), create(Node(passes, "node"), state_store=store) as flow:
        await flow.submit("x")
        assert await flow.ask("y") == "y"
    assert store.calls > 1


async def test_a_second_read_of_one_chunk_iterator_is_refused() -> None:
    async def streams(message: str, ctx: Context) -> None:
        await asyncio.sleep(0)
        await ctx.emit_chunk(text="first")

    async with create(Node(streams, "node")) as flow, asyncio.timeout(5):
        chunks = (await flow.submit("x")).chunks()
        first, second = await asyncio.gather(anext(chunks), anext(chunks), return_exceptions=True)
        assert isinstance(first, StreamChunk)
        assert isinstance(second, FlowError)
        assert second.code == FlowErrorCode.CHUNKS_BUSY


async def test_a_chunk_that_is_emitted_as_a_value_waits_for_the_reader_too() -> None:
    async def streams(message: str, ctx: Context) -> None:
        for seq in range(50):
            await ctx.emit(StreamChunk(stream_id="s", seq=seq))

    async with create(Node(streams, "node"), queue_maxsize=4) as flow, asyncio.timeout(5):
        trace = await flow.submit("x")
        assert [chunk.seq async for chunk in trace.chunks()] == list(range(50))
        assert trace.chunks_dropped == 0


async def test_a_second_stop_keeps_to_its_own_time_limit(caplog: pytest.LogCaptureFixture) -> None:
    async def waits(message: str, ctx: Context) -> None:
        await asyncio.Event().wait()

    caplog.set_level(logging.ERROR)
    flow = create(Node(waits, "node"))
    flow.run()
    trace = await flow.submit("x")
    patient = asyncio.create_task(flow.stop())
    await asyncio.sleep(0)
    async with asyncio.timeout(4):
        await flow.stop(timeout_s=0.05)
        await patient
    with pytest.raises(FlowStopped):
        await trace.result()
