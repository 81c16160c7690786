"""Order within a trace, concurrency across traces, and a bound on every queue."""

import asyncio

import pytest

from penguiflow import WM, Context, FinalAnswer, FlowError, Headers, Message, Node, NodePolicy, QueueFull, create


async def turns(count: int = 20) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_slow_message_delays_only_its_own_trace() -> None:
    gate, order = asyncio.Event(), []

    async def work(name: str, ctx: object) -> str:
        if name == "slow":
            await gate.wait()
        order.append(name)
        return name

    async with create(Node(work)) as flow:
        slow = await flow.submit("slow")
        assert await flow.ask("fast") == "fast"
        gate.set()
        await slow.result()
    assert order == ["fast", "slow"]


async def test_one_node_runs_the_messages_of_a_trace_one_at_a_time_in_order() -> None:
    running = peak = 0

    async def split(n: int, ctx: Context) -> None:
        for item in range(n):
            await ctx.emit(item)

    async def work(item: int, ctx: object) -> int:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return item

    async with create(Node(split).to(Node(work))) as flow:
        results = await (await flow.submit(10)).results()
    assert [value for _, value in results] == list(range(10))
    assert peak == 1


async def test_an_unordered_node_fans_one_trace_out_up_to_its_bound() -> None:
    running = peak = 0
    full = asyncio.Event()

    async def split(n: int, ctx: Context) -> None:
        for item in range(n):
            await ctx.emit(item)

    async def work(item: int, ctx: object) -> int:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        if running == 4:
            full.set()
        await full.wait()
        running -= 1
        return item

    policy = NodePolicy(ordered=False, max_concurrency=4)
    async with create(Node(split).to(Node(work, policy=policy))) as flow:
        results = await (await flow.submit(12)).results()
    assert sorted(value for _, value in results) == list(range(12))
    assert peak == 4


async def test_a_node_works_on_max_concurrency_traces_and_never_more_than_queue_maxsize() -> None:
    for policy, maxsize, expected in ((NodePolicy(max_concurrency=3), 64, 3), (NodePolicy(), 5, 5)):
        running = peak = 0
        gate = asyncio.Event()

        async def work(item: int, ctx: object) -> int:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await gate.wait()  # noqa: B023 - awaited within this turn
            running -= 1
            return item

        async with create(Node(work, policy=policy), queue_maxsize=maxsize) as flow:
            asking = [asyncio.create_task(flow.ask(n)) for n in range(20)]
            await turns()
            gate.set()
            await asyncio.gather(*asking)
        assert peak == expected


async def test_back_off_holds_no_worker_and_keeps_the_place_of_its_trace() -> None:
    attempts: list[str] = []

    async def split(n: int, ctx: Context) -> None:
        await ctx.emit("flaky")
        await ctx.emit("after")

    async def work(item: str, ctx: Context) -> str:
        attempts.append(item)
        if item == "flaky" and ctx.attempt == 0:
            raise ValueError("once")
        return item

    policy = NodePolicy(max_retries=1, backoff_base=0.05, max_concurrency=1)
    async with create(Node(split).to(Node(work, policy=policy))) as flow:
        retrying = await flow.submit(1)
        await turns()
        assert await flow.ask("innocent", to="work") == "innocent"
        assert not retrying.done
        assert [value for _, value in await retrying.results()] == ["flaky", "after"]
    assert attempts == ["flaky", "innocent", "flaky", "after"]


async def test_a_full_queue_blocks_its_producer() -> None:
    gate, sent = asyncio.Event(), []

    async def split(n: int, ctx: Context) -> None:
        for item in range(n):
            await ctx.emit(item)
            sent.append(item)

    async def work(item: int, ctx: object) -> None:
        await gate.wait()

    async with create(Node(split).to(Node(work)), queue_maxsize=3) as flow:
        trace = await flow.submit(20)
        await turns(50)
        assert len(sent) == 4  # one runs, three wait
        gate.set()
        await trace.result()
    assert len(sent) == 20


async def test_a_trace_that_fills_a_queue_does_not_keep_others_out_of_it() -> None:
    gate = asyncio.Event()

    async def split(message: Message, ctx: Context) -> None:
        for item in range(50):
            await ctx.emit(item)

    async def work(item: int, ctx: Context) -> int:
        if ctx.headers.tenant == "hog":
            await gate.wait()
        return item

    async with create(Node(split).to(Node(work)), queue_maxsize=4) as flow:
        hog = await flow.submit(Message(payload=0, headers=Headers(tenant="hog")))
        await turns(50)
        assert len(await (await flow.submit(Message(payload=0))).results()) == 50
        assert not hog.done
        gate.set()
        assert len(await hog.results()) == 50


async def test_emit_nowait_sends_to_all_or_to_none() -> None:
    gate, refused = asyncio.Event(), []

    async def split(n: int, ctx: Context) -> None:
        for item in range(n):
            try:
                ctx.emit_nowait(item)
            except QueueFull as error:
                refused.append((item, error.node_name))

    async def work(item: int, ctx: object) -> int:
        await gate.wait()
        return item

    async with create(Node(split).to(Node(work)), queue_maxsize=2) as flow:
        trace = await flow.submit(4)
        await turns()
        gate.set()
        values = [value for _, value in await trace.results()]
    assert values == [0, 1]
    assert refused == [(2, "work"), (3, "work")]


async def test_two_nodes_in_a_cycle_do_not_deadlock_on_their_own_queues() -> None:
    async def fan(n: int, ctx: Context) -> FinalAnswer | None:
        if n == 0:
            return FinalAnswer(text="end")
        for _ in range(8):
            await ctx.emit(n - 1)
        return None

    async def back(n: int, ctx: object) -> int:
        return n

    fanning, returning = Node(fan, allow_cycle=True), Node(back)
    async with create(fanning.to(returning), returning.to(fanning), queue_maxsize=1) as flow:
        assert len(await (await flow.submit(2)).results()) == 64


async def test_a_cycle_that_grows_without_end_is_stopped_by_its_cap() -> None:
    async def double(n: int, ctx: Context) -> int:
        await ctx.emit(n)
        return n

    loop = Node(double, allow_cycle=True)
    async with create(loop.to(loop)) as flow:
        with pytest.raises(FlowError, match="wait here on a cycle") as caught:
            await flow.ask(1)
        assert caught.value.code == "QUEUE_OVERFLOW"
        assert flow.active_traces == []


async def test_a_loop_that_never_awaits_can_still_be_cancelled() -> None:
    async def spin(n: int, ctx: object) -> int:
        return n

    loop = Node(spin, allow_cycle=True)
    async with create(loop.to(loop)) as flow:
        trace = await flow.submit(1)
        await turns()
        assert trace.cancel()
        with pytest.raises(FlowError, match="cancelled"):
            await trace.result()


async def test_a_hop_budget_ends_a_loop_in_one_final_answer() -> None:
    hops: list[int] = []

    async def think(memory: WM, ctx: object) -> WM:
        hops.append(memory.hops)
        return memory

    controller = Node(think, allow_cycle=True)
    async with create(controller.to(controller)) as flow:
        answer = await flow.ask(WM(query="q", budget_hops=3))
    assert isinstance(answer, FinalAnswer)
    assert "Hop budget" in answer.text
    assert hops == [0, 1, 2, 3]


async def test_a_token_budget_ends_a_loop_in_one_final_answer() -> None:
    async def think(memory: WM, ctx: object) -> WM:
        return memory.model_copy(update={"tokens_used": memory.tokens_used + 40})

    controller = Node(think, allow_cycle=True)
    async with create(controller.to(controller)) as flow:
        answer = await flow.ask(WM(query="q", budget_hops=None, budget_tokens=100))
    assert isinstance(answer, FinalAnswer)
    assert "120 of 100 tokens" in answer.text


async def test_a_higher_priority_goes_first_among_waiting_traces() -> None:
    gate, served = asyncio.Event(), []

    async def work(message: Message, ctx: object) -> None:
        if message.payload == "first":
            await gate.wait()
        served.append(message.payload)

    def message(name: str, priority: int) -> Message:
        return Message(payload=name, headers=Headers(priority=priority))

    async with create(Node(work, policy=NodePolicy(max_concurrency=1))) as flow:
        traces = [await flow.submit(message("first", 0))]
        await turns()
        for name, priority in (("low", 0), ("high", 5), ("lower", -1), ("higher", 9), ("low2", 0)):
            traces.append(await flow.submit(message(name, priority)))
        gate.set()
        for trace in traces:
            await trace.result()
    assert served == ["first", "higher", "high", "low", "low2", "lower"]


async def test_a_low_priority_is_not_starved_by_a_stream_of_high_ones() -> None:
    served: list[str] = []

    async def work(message: Message, ctx: object) -> None:
        served.append(message.payload)
        await asyncio.sleep(0)

    async with create(Node(work, policy=NodePolicy(max_concurrency=1)), queue_maxsize=8) as flow:
        low = await flow.submit(Message(payload="low"))

        async def feed() -> None:
            for _ in range(25):
                await flow.ask(Message(payload="high", headers=Headers(priority=10**9)))

        feeding = [asyncio.create_task(feed()) for _ in range(8)]
        await low.result()
        assert served.count("high") <= 20
        await asyncio.gather(*feeding)


async def test_priority_never_reorders_within_a_trace() -> None:
    async def split(message: Message, ctx: Context) -> None:
        for n in range(5):
            headers = Headers(priority=n)
            await ctx.emit(message.model_copy(update={"payload": n, "headers": headers}))

    async def work(message: Message, ctx: object) -> int:
        return int(message.payload)

    async with create(Node(split).to(Node(work))) as flow:
        results = await (await flow.submit(Message(payload=0, headers=Headers(priority=3)))).results()
    assert [value for _, value in results] == [0, 1, 2, 3, 4]
