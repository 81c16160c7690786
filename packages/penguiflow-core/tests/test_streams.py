"""Streams: chunks reach the reader of their trace in order, with back-pressure while someone reads."""

import asyncio

import pytest

from penguiflow import Context, FlowError, Node, NodePolicy, StreamChunk, create


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Streamer:
    """Streams the given words, and counts how many went out."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.sent = 0

    async def __call__(self, message: object, ctx: Context) -> str:
        for n in range(self.count):
            await ctx.emit_chunk(text=f"w{n} ", done=n == self.count - 1)
            self.sent += 1
        return "end"


async def test_chunks_arrive_in_order_before_the_result() -> None:
    async with create(Node(Streamer(5), "stream")) as flow:
        trace = await flow.submit("q")
        chunks = [chunk async for chunk in trace.chunks()]
        assert await trace.result() == "end"
    assert [chunk.seq for chunk in chunks] == [0, 1, 2, 3, 4]
    assert "".join(chunk.text for chunk in chunks) == "w0 w1 w2 w3 w4 "
    assert [chunk.done for chunk in chunks] == [False] * 4 + [True]
    assert len({chunk.stream_id for chunk in chunks}) == 1


async def test_chunks_are_no_values() -> None:
    async def passing(message: object, ctx: Context) -> StreamChunk:
        return StreamChunk(stream_id="s", seq=0, text="x")

    async with create(Node(passing)) as flow:
        trace = await flow.submit("q")
        assert await trace.results() == []
        assert [chunk.text async for chunk in trace.chunks()] == ["x"]


async def test_a_slow_reader_slows_the_node_that_streams() -> None:
    streamer = Streamer(50)
    async with create(Node(streamer, "stream"), queue_maxsize=4) as flow:
        trace = await flow.submit("q")
        reader = trace.chunks()
        seen = [(await anext(reader)).seq]
        await turns(50)
        assert streamer.sent <= 6
        seen += [chunk.seq async for chunk in reader]
    assert seen == list(range(50))
    assert trace.chunks_dropped == 0


async def test_whoever_awaits_only_the_result_is_not_blocked_by_chunks() -> None:
    async with create(Node(Streamer(50), "stream"), queue_maxsize=4) as flow:
        trace = await flow.submit("q")
        assert await trace.result() == "end"
        assert trace.chunks_dropped == 46
        assert [chunk.seq async for chunk in trace.chunks()] == [46, 47, 48, 49]


async def test_a_reader_who_breaks_off_lets_the_node_go_on() -> None:
    async with create(Node(Streamer(50), "stream"), queue_maxsize=4) as flow:
        trace = await flow.submit("q")
        async for _ in trace.chunks():
            break
        assert await trace.result() == "end"


async def test_a_second_reader_is_refused() -> None:
    async with create(Node(Streamer(50), "stream"), queue_maxsize=4) as flow:
        trace = await flow.submit("q")
        reader = trace.chunks()
        await anext(reader)
        with pytest.raises(FlowError, match="read already") as caught:
            await anext(trace.chunks())
        assert caught.value.code == "CHUNKS_BUSY"
        trace.cancel()


async def test_streams_of_two_traces_do_not_mix() -> None:
    async def echo(name: str, ctx: Context) -> None:
        for n in range(5):
            await ctx.emit_chunk(text=f"{name}{n}")
            await asyncio.sleep(0)

    async def read(name: str) -> list[str]:
        trace = await flow.submit(name)
        return [chunk.text async for chunk in trace.chunks()]

    async with create(Node(echo)) as flow:
        texts = await asyncio.gather(*(read(name) for name in "abc"))
    assert texts == [[f"{name}{n}" for n in range(5)] for name in "abc"]


async def test_a_failed_trace_raises_after_its_last_chunk() -> None:
    async def failing(message: object, ctx: Context) -> None:
        await ctx.emit_chunk(text="part")
        raise ValueError("broken")

    async with create(Node(failing)) as flow:
        trace = await flow.submit("q")
        texts: list[str] = []

        async def read() -> None:
            async for chunk in trace.chunks():
                texts.append(chunk.text)  # noqa: PERF401 - what came before the error counts

        with pytest.raises(FlowError, match="broken"):
            await read()
    assert texts == ["part"]


async def test_chunks_go_to_a_node_only_by_to_and_keep_their_order() -> None:
    async def produce(message: object, ctx: Context) -> None:
        for n in range(3):
            await ctx.emit_chunk(text=str(n), to="sink")

    async def sink(chunk: StreamChunk, ctx: Context) -> str:
        return chunk.text

    async with create(Node(produce).to(Node(sink))) as flow:
        trace = await flow.submit("q")
        assert [value for _, value in await trace.results()] == ["0", "1", "2"]
        assert [chunk async for chunk in trace.chunks()] == []


@pytest.mark.parametrize(("seqs", "problem"), [([0, 0], "below"), ([5, 4], "below"), ([None, "done", None], "done")])
async def test_a_chunk_out_of_order_is_refused(seqs: list[object], problem: str) -> None:
    async def produce(message: object, ctx: Context) -> None:
        for seq in seqs:
            await ctx.emit_chunk("s", seq if isinstance(seq, int) else None, "x", done=seq == "done")

    async with create(Node(produce)) as flow:
        with pytest.raises(FlowError, match=problem) as caught:
            await flow.ask("q")
    assert caught.value.code == "STREAM_ORDER"


async def test_a_retry_streams_anew() -> None:
    async def flaky(message: object, ctx: Context) -> None:
        await ctx.emit_chunk(text=f"try {ctx.attempt}", done=True)
        if ctx.attempt == 0:
            raise ValueError("once")

    async with create(Node(flaky, policy=NodePolicy(max_retries=1, backoff_base=0))) as flow:
        trace = await flow.submit("q")
        chunks = [chunk async for chunk in trace.chunks()]
    assert [chunk.text for chunk in chunks] == ["try 0", "try 1"]
    assert len({chunk.stream_id for chunk in chunks}) == 2


async def test_cancelling_a_node_that_waits_for_its_reader_frees_it() -> None:
    streamer = Streamer(50)
    async with create(Node(streamer, "stream"), queue_maxsize=2) as flow:
        trace = await flow.submit("q")
        reader = trace.chunks()
        await anext(reader)
        await turns()
        assert await trace.cancel()
        with pytest.raises(FlowError, match="cancelled"):
            _ = [chunk async for chunk in reader]
    assert streamer.sent < 10
