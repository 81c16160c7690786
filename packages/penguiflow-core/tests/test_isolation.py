"""Nothing leaks: context variables, per-trace structures, and the layer of emit and fetch."""

import asyncio
import contextlib
import contextvars
import gc
import os
import random
import subprocess
import sys
import time
import weakref
from collections.abc import Callable

import pytest

from penguiflow import (
    Context,
    FlowError,
    FlowStopped,
    Headers,
    Message,
    Node,
    NodePolicy,
    PenguiFlow,
    create,
    join_k,
)

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_each_call_runs_in_the_context_variables_of_its_submitter() -> None:
    async def read(message: str, ctx: Context) -> str:
        before = request_id.get()
        await asyncio.sleep(0)
        after = request_id.get()
        request_id.set(f"dirt of {message}")
        return f"{before}/{after}"

    async def ask(flow: PenguiFlow, name: str) -> str:
        request_id.set(name)
        return str(await flow.ask(name))

    async with create(Node(read, "a").to(Node(read, "b")), queue_maxsize=2) as flow:
        answers = await asyncio.gather(*(asyncio.create_task(ask(flow, f"r{n}")) for n in range(20)))
    assert answers == [f"r{n}/r{n}" for n in range(20)]


async def test_tasks_a_node_starts_see_its_context_variables() -> None:
    async def spawn(message: str, ctx: Context) -> str:
        async def read() -> str:
            return request_id.get()

        return await asyncio.create_task(read())

    request_id.set("outer")
    async with create(Node(spawn)) as flow:
        assert await flow.ask("x") == "outer"


async def test_fetch_returns_the_values_of_emitted_traces_in_order_of_arrival() -> None:
    async def echo(n: int, ctx: Context) -> int:
        return n

    async with create(Node(echo)) as flow:
        for n in range(10):
            await flow.emit(n)
        assert [await flow.fetch() for _ in range(10)] == list(range(10))


async def test_ten_waiters_and_ten_messages_are_ten_served() -> None:
    async def echo(n: int, ctx: Context) -> int:
        return n

    async with create(Node(echo, "a"), Node(echo, "b")) as flow:
        waiting = [asyncio.create_task(flow.fetch()) for _ in range(10)]
        await turns()
        for n in range(5):
            await flow.emit(n)
        assert sorted(await asyncio.gather(*waiting)) == sorted([*range(5), *range(5)])


async def test_a_fetch_that_times_out_or_is_cancelled_loses_nothing() -> None:
    async def echo(n: int, ctx: Context) -> int:
        return n

    async with create(Node(echo, "a"), Node(echo, "b")) as flow:
        with pytest.raises(TimeoutError):
            await flow.fetch(timeout_s=0.01)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flow.fetch(), 0.01)
        cancelled = asyncio.create_task(flow.fetch())
        await turns(2)
        await flow.emit(1)
        await turns(3)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        got = [] if cancelled.cancelled() else [cancelled.result()]
        got += [await flow.fetch(timeout_s=1) for _ in range(2 - len(got))]
    assert got == [1, 1]


async def test_fetch_raises_the_error_of_a_failed_trace_or_returns_it() -> None:
    async def failing(n: int, ctx: Context) -> int:
        raise ValueError("broken")

    async with create(Node(failing)) as flow:
        await flow.emit(1)
        with pytest.raises(FlowError, match="broken"):
            await flow.fetch()
    async with create(Node(failing), emit_errors_to_rookery=True) as flow:
        await flow.emit(1)
        assert isinstance(await flow.fetch(), FlowError)


async def test_cancelling_an_emitted_trace_tells_whoever_fetches() -> None:
    async def wait(message: Message, ctx: Context) -> None:
        await asyncio.Event().wait()

    async with create(Node(wait)) as flow:
        await flow.emit(Message(payload=1, trace_id="t"))
        fetching = asyncio.create_task(flow.fetch())
        await turns()
        assert await flow.cancel("t")
        with pytest.raises(FlowError, match="cancelled"):
            await fetching


async def test_messages_emitted_under_one_id_belong_to_one_trace() -> None:
    async with create(join_k("join", 2)) as flow:
        for part in "ab":
            await flow.emit(Message(payload=part, trace_id="t"))
        assert (await flow.fetch()).payload == ["a", "b"]


async def test_values_nobody_fetches_hold_up_emit_but_no_submitted_trace() -> None:
    async def echo(n: int, ctx: Context) -> int:
        return n

    async with create(Node(echo), queue_maxsize=2) as flow:
        emitted: list[int] = []

        async def feed() -> None:
            for n in range(50):
                await flow.emit(n)
                emitted.append(n)

        feeding = asyncio.create_task(feed())
        await turns(200)
        assert len(emitted) < 15
        assert await flow.ask(99) == 99
        assert [await flow.fetch(timeout_s=1) for _ in range(50)] == list(range(50))
        await feeding


async def test_a_drained_stop_keeps_emitted_values_for_fetch() -> None:
    async def echo(n: int, ctx: Context) -> int:
        return n

    flow = create(Node(echo), queue_maxsize=4)
    await flow.run()
    for n in range(7):
        await flow.emit(n)
    await flow.stop()
    assert [await flow.fetch() for _ in range(7)] == list(range(7))
    with pytest.raises(FlowStopped):
        await flow.fetch()


async def test_a_node_may_fetch_further_messages_of_its_trace() -> None:
    async def split(n: int, ctx: Context) -> None:
        for item in range(n):
            await ctx.emit(item)

    async def batch(first: int, ctx: Context) -> list[int]:
        items = [first]
        while (item := await ctx.fetch()) is not None:
            items.append(item)
        return items

    async with create(Node(split).to(Node(batch))) as flow:
        assert await flow.ask(5) == [0, 1, 2, 3, 4]
        assert await flow.ask(1) == [0]


async def test_a_fetch_in_a_node_that_is_given_up_loses_no_message() -> None:
    async def split(n: int, ctx: Context) -> None:
        await ctx.emit(1)
        await asyncio.sleep(0.03)
        await ctx.emit(2)

    async def impatient(first: int, ctx: Context) -> list[int | None]:
        try:
            async with asyncio.timeout(0.001):
                return [first, await ctx.fetch()]
        except TimeoutError:
            return [first]

    async with create(Node(split).to(Node(impatient))) as flow:
        assert [value for _, value in await (await flow.submit(0)).results()] == [[1], [2, None]]


async def test_an_unordered_node_may_fetch_too() -> None:
    async def split(n: int, ctx: Context) -> None:
        for item in range(n):
            await ctx.emit(item)

    async def pair(first: int, ctx: Context) -> list[int]:
        second = await ctx.fetch()
        return [first] if second is None else [first, second]

    policy = NodePolicy(ordered=False, max_concurrency=1)
    async with create(Node(split).to(Node(pair, policy=policy))) as flow:
        results = await (await flow.submit(5)).results()
    assert sorted(item for _, pair_ in results for item in pair_) == list(range(5))


async def test_a_fetch_takes_what_a_producer_waits_to_send() -> None:
    blocked = asyncio.Event()

    async def split(n: int, ctx: Context) -> None:
        for item in range(n):
            if item == 2:
                blocked.set()
            await ctx.emit(item)

    async def pull(first: int, ctx: Context) -> list[int]:
        await blocked.wait()
        await turns()
        items = [first]
        while (item := await ctx.fetch()) is not None:
            items.append(item)
        return items

    async with create(Node(split).to(Node(pull)), queue_maxsize=1) as flow:
        assert await flow.ask(5) == [0, 1, 2, 3, 4]
        assert _leftovers(flow) == {}


async def test_a_node_that_waits_in_fetch_is_cancelled_with_its_trace() -> None:
    waiting = asyncio.Event()

    async def feed(n: int, ctx: Context) -> None:
        await ctx.emit(1)
        await asyncio.Event().wait()

    async def wait(first: int, ctx: Context) -> None:
        waiting.set()
        await ctx.fetch()

    async with create(Node(feed).to(Node(wait))) as flow:
        trace = await flow.submit(0)
        await waiting.wait()
        assert await trace.cancel()
        assert _leftovers(flow) == {}


def _leftovers(flow: PenguiFlow) -> dict[str, object]:
    runtime = flow._runtime
    assert runtime is not None
    found: dict[str, object] = {
        "active": dict(runtime.active),
        "timers": len(runtime.timers),
        "unwinding": dict(runtime.unwinding),
        "runnable": [*runtime.workers.runnable, *runtime.workers.urgent],
        "rookery": len(runtime.rookery),
    }
    for station in runtime.stations.values():
        found[station.name] = [len(station.ready), station.queued, station.active, len(station.blocked)]
        found[station.name + ".gate"] = len(station.gate.blocked)
    empty: tuple[object, ...] = (0, {}, [], [0, 0, 0, 0])
    return {name: value for name, value in found.items() if value not in empty}


def unreliable(rng: random.Random) -> PenguiFlow:
    """Build a fan-out and join of nodes that fail, hang and stream as the dice fall."""

    async def work(message: Message, ctx: Context) -> Message:
        await ctx.emit_chunk(text="x")
        draw = rng.random()
        if draw < 0.1:
            raise ValueError("unlucky")
        await asyncio.sleep(0.02 if draw < 0.2 else 0)
        return message

    policy = NodePolicy(max_retries=1, backoff_base=0.001, timeout_s=0.01)
    start = Node(work, "start", policy=policy)
    workers = [Node(work, f"w{n}", policy=policy) for n in range(3)]
    join = join_k("join", 3, on_incomplete="emit")
    return create(start.to(*workers), *(worker.to(join) for worker in workers), queue_maxsize=8)


async def fate(flow: PenguiFlow, rng: random.Random) -> None:
    """Run one trace that may have a priority, a deadline, and someone who cancels it."""
    deadline_s = time.time() + 0.005 if rng.random() < 0.1 else None
    headers = Headers(priority=rng.choice((0, 0, 5)))
    trace = await flow.submit(Message(payload=1, headers=headers, deadline_s=deadline_s))
    if rng.random() < 0.2:
        await asyncio.sleep(0)
        trace.cancel()
    with contextlib.suppress(FlowError):
        await trace.results()


async def test_nothing_is_left_after_any_mix_of_outcomes(scale: Callable[[int, int], int]) -> None:
    rng = random.Random(7)
    async with unreliable(rng) as flow:
        for _ in range(scale(5, 50)):
            await asyncio.gather(*(fate(flow, rng) for _ in range(100)))
        for _ in range(100):
            if not _leftovers(flow):
                break
            await asyncio.sleep(0.01)
        assert _leftovers(flow) == {}


async def test_an_ended_trace_is_released() -> None:
    class Payload:
        pass

    async def echo(message: object, ctx: Context) -> object:
        return message

    async with create(Node(echo)) as flow:
        payload = Payload()
        watch = weakref.ref(payload)
        await flow.ask(payload)
        del payload
        gc.collect()
        assert watch() is None


_ORDER_SCRIPT = """
import asyncio
from penguiflow import Node, create
names = [f"node{n}" for n in range(12)]
async def echo(message, ctx):
    return ctx.node_name
async def main():
    start = Node(echo, "start")
    events = []
    async with create(start.to(*(Node(echo, name) for name in names)), on_event=events.append) as flow:
        results = await (await flow.submit(1)).results()
    print([name for name, _ in results], [(e.event_type, e.node_name) for e in events])
asyncio.run(main())
"""


def test_successor_and_event_order_do_not_vary_between_processes() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", _ORDER_SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1
    assert printed.pop().startswith("['node0', 'node1', 'node2'")


async def test_the_number_of_tasks_does_not_grow_with_the_number_of_messages() -> None:
    async def echo(n: int, ctx: Context) -> int:
        await asyncio.sleep(0)
        return n

    async with create(Node(echo, policy=NodePolicy(max_concurrency=4)), queue_maxsize=2000) as flow:
        traces = [await flow.submit(n) for n in range(1000)]
        before = len(asyncio.all_tasks())
        for trace in traces:
            await trace.result()
        assert len(asyncio.all_tasks()) - before <= 2 * 4


async def test_an_emission_that_is_cancelled_takes_back_its_own_message_only() -> None:
    gate, entered = asyncio.Event(), asyncio.Event()

    async def work(message: Message, ctx: Context) -> Message:
        entered.set()
        await gate.wait()
        return message

    async with create(Node(work, policy=NodePolicy(max_concurrency=1)), queue_maxsize=1) as flow:
        for part in "ab":
            await flow.emit(Message(payload=part, trace_id="t"))
            await entered.wait()
        waiting = asyncio.create_task(flow.emit(Message(payload="c", trace_id="t")))
        await turns()
        waiting.cancel()
        await asyncio.wait([waiting])
        gate.set()
        assert [(await flow.fetch()).payload for _ in range(2)] == ["a", "b"]
        await turns()
        assert flow.active_traces == []


def test_a_flow_is_not_used_from_another_event_loop() -> None:
    async def echo(n: int, ctx: Context) -> int:
        return n

    async def main() -> None:
        async with create(Node(echo)) as flow:
            with pytest.raises(ValueError, match="another event loop"):
                await asyncio.to_thread(lambda: asyncio.run(flow.ask(1)))
            future = asyncio.run_coroutine_threadsafe(flow.ask(1), asyncio.get_running_loop())
            assert await asyncio.wrap_future(future) == 1

    asyncio.run(main())
