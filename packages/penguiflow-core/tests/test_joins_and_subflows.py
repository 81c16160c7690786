"""Joins end, metadata survives, and a subflow lives and dies with the node that called it."""

import asyncio
import time

import pytest

from penguiflow import (
    WM,
    Context,
    FinalAnswer,
    FlowError,
    FlowEvent,
    JoinIncomplete,
    Message,
    Node,
    NodePolicy,
    PenguiFlow,
    TraceCancelled,
    create,
    join_k,
)


def worker(name: str, *, answers: bool = True) -> Node:
    async def work(message: object, ctx: Context) -> object:
        if not answers:
            return None
        if isinstance(message, Message):
            return message.model_copy(update={"payload": f"{message.payload}{name}", "meta": {name: 1}})
        return f"{message}{name}"

    return Node(work, name)


async def pass_on(message: object, ctx: Context) -> object:
    return message


def fan(*workers: Node, k: int, **options: str) -> PenguiFlow:
    start, join = Node(pass_on, "start"), join_k("join", k, **options)  # type: ignore[arg-type]
    return create(start.to(*workers), *(node.to(join) for node in workers))


async def test_the_kth_part_fires_the_join_with_all_of_them() -> None:
    async with fan(worker("a"), worker("b"), worker("c"), k=3) as flow:
        assert await flow.ask("x") == ["xa", "xb", "xc"]
        assert await flow.ask("y") == ["ya", "yb", "yc"]


async def test_joined_messages_become_one_with_merged_metadata() -> None:
    async with fan(worker("a"), worker("b"), k=2) as flow:
        joined = await flow.ask(Message(payload="x", trace_id="t", meta={"request": 7}))
    assert joined.payload == ["xa", "xb"]
    assert joined.meta == {"request": 7, "a": 1, "b": 1}
    assert joined.trace_id == "t"


async def test_parts_after_the_kth_are_dropped_with_an_event() -> None:
    events: list[FlowEvent] = []
    flow = fan(worker("a"), worker("b"), worker("c"), k=2)
    flow.add_middleware(events.append)
    async with flow:
        assert await flow.ask("x") == ["xa", "xb"]
        assert await flow.ask("y") == ["ya", "yb"]
    assert [event.event_type for event in events].count("core.join_late") == 2


async def test_joins_of_concurrent_traces_do_not_mix() -> None:
    async with fan(worker("a"), worker("b"), k=2) as flow:
        answers = await asyncio.gather(*(flow.ask(f"{n}") for n in range(50)))
    assert answers == [[f"{n}a", f"{n}b"] for n in range(50)]


async def test_a_join_that_can_no_longer_fill_fails_its_trace() -> None:
    async with fan(worker("a"), worker("b", answers=False), k=2) as flow:
        with pytest.raises(JoinIncomplete, match="1 of 2 parts") as caught:
            await flow.ask("x")
        assert (caught.value.code, caught.value.have, caught.value.need) == ("JOIN_INCOMPLETE", 1, 2)
        assert flow.active_traces == []


async def test_a_join_may_emit_what_there_is() -> None:
    async with fan(worker("a"), worker("b", answers=False), k=2, on_incomplete="emit") as flow:
        assert await flow.ask("x") == ["xa"]


async def test_joins_that_feed_joins_are_completed_in_the_order_of_the_graph() -> None:
    start = Node(pass_on, "start")
    first, second = join_k("first", 3, on_incomplete="emit"), join_k("second", 2, on_incomplete="emit")
    a, b = worker("a"), worker("b")
    flow = create(start.to(a, b), a.to(first), b.to(first), first.to(second))
    async with flow:
        assert await flow.ask("x") == [["xa", "xb"]]


async def test_a_join_in_a_loop_has_a_bucket_for_each_turn() -> None:
    async def control(message: object, ctx: Context) -> object:
        turn = len(message) if isinstance(message, list) else 0
        history = message if isinstance(message, list) else []
        return FinalAnswer(text=str(history)) if turn >= 2 else f"turn{turn}"

    seen: list[object] = []

    async def merge(parts: list[str], ctx: Context) -> list[str]:
        seen.append(parts)
        return [*parts] if len(seen) == 2 else parts[:1]

    controller, left, right = Node(control, allow_cycle=True), worker("L"), worker("R")
    join, merging = join_k("join", 2), Node(merge)
    flow = create(controller.to(left, right), left.to(join), right.to(join), join.to(merging), merging.to(controller))
    async with flow:
        await flow.ask("go")
    assert seen == [["turn0L", "turn0R"], ["turn1L", "turn1R"]]


async def test_metadata_survives_fan_out_without_leaking_between_branches() -> None:
    async def mark(message: Message, ctx: Context) -> Message:
        message.meta["marked"] = ctx.node_name
        return message

    start = Node(pass_on, "start")
    async with create(start.to(Node(mark, "left"), Node(mark, "right"))) as flow:
        results = await (await flow.submit(Message(payload=0, meta={"k": 1}))).results()
    assert [(name, value.meta) for name, value in results] == [
        ("left", {"k": 1, "marked": "left"}),
        ("right", {"k": 1, "marked": "right"}),
    ]


async def test_a_message_a_node_builds_belongs_to_the_trace_and_inherits_metadata() -> None:
    async def build(message: Message, ctx: Context) -> Message:
        return Message(payload="new", meta={"own": 2})

    async with create(Node(build)) as flow:
        built = await flow.ask(Message(payload="old", trace_id="t", meta={"k": 1, "own": 1}))
    assert (built.trace_id, built.meta) == ("t", {"k": 1, "own": 2})


def calling(playbook: object, *, timeout: float | None = None, policy: NodePolicy | None = None) -> Node:
    async def call(message: object, ctx: Context) -> object:
        return await ctx.call_playbook(playbook, message, timeout=timeout)  # type: ignore[arg-type]

    return Node(call, "call", policy=policy)


async def test_a_playbook_gives_its_only_value_and_keeps_trace_meta_and_deadline() -> None:
    seen: list[Message] = []

    async def inner(message: Message, ctx: Context) -> Message:
        seen.append(message)
        return message.model_copy(update={"payload": "done"})

    deadline_s = time.time() + 60
    async with create(calling(lambda: create(Node(inner)))) as flow:
        sent = Message(payload="go", trace_id="t", meta={"k": 1}, deadline_s=deadline_s)
        answer = await flow.ask(sent)
    assert (answer.payload, answer.meta) == ("done", {"k": 1})
    assert (seen[0].trace_id, seen[0].meta, seen[0].deadline_s) == ("t", {"k": 1}, deadline_s)


async def test_cancelling_a_trace_unwinds_its_subflow() -> None:
    entered, unwound = asyncio.Event(), asyncio.Event()

    async def inner(message: object, ctx: Context) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            unwound.set()

    async with create(calling(lambda: create(Node(inner)))) as flow:
        trace = await flow.submit("go")
        await entered.wait()
        assert await trace.cancel()
        assert unwound.is_set()
        with pytest.raises(TraceCancelled):
            await trace.result()


async def test_a_deadline_reaches_into_a_subflow() -> None:
    async def inner(message: object, ctx: Context) -> None:
        await asyncio.Event().wait()

    async with create(calling(lambda: create(Node(inner)))) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload="go", deadline_s=time.time() + 0.05))
    assert caught.value.code == "DEADLINE_EXCEEDED"


async def test_a_subflow_that_fails_fails_the_node_that_called_it() -> None:
    async def inner(message: object, ctx: Context) -> None:
        raise ValueError("inside")

    async with create(calling(lambda: create(Node(inner)))) as flow:
        with pytest.raises(FlowError, match="inside") as caught:
            await flow.ask("go")
    assert caught.value.node_name == "inner"


async def test_a_playbook_time_out_is_a_time_out_of_the_call() -> None:
    async def inner(message: object, ctx: Context) -> None:
        await asyncio.Event().wait()

    async with create(calling(lambda: create(Node(inner)), timeout=0.02)) as flow:
        with pytest.raises(FlowError, match="TimeoutError"):
            await flow.ask("go")


async def test_chunks_of_a_subflow_reach_the_reader_of_the_caller() -> None:
    async def inner(message: object, ctx: Context) -> str:
        await ctx.emit_chunk(text=f"{message}", done=True)
        return "x"

    async def twice(message: object, ctx: Context) -> None:
        for n in range(2):
            await ctx.call_playbook(lambda: create(Node(inner)), f"call {n}")

    async with create(Node(twice)) as flow:
        trace = await flow.submit("go")
        chunks = [chunk async for chunk in trace.chunks()]
    assert [chunk.text for chunk in chunks] == ["call 0", "call 1"]
    assert len({chunk.stream_id for chunk in chunks}) == 2


async def test_a_subflow_is_held_to_what_is_left_of_its_callers_budget() -> None:
    async def think(memory: WM, ctx: Context) -> WM:
        return memory

    def playbook() -> PenguiFlow:
        loop = Node(think, allow_cycle=True)
        return create(loop.to(loop))

    async def delegate(memory: WM, ctx: Context) -> FinalAnswer:
        answer = await ctx.call_playbook(playbook, WM(query="inner", budget_hops=100))
        return FinalAnswer(text=answer.text)

    async with create(Node(delegate)) as flow:
        answer = await flow.ask(WM(query="outer", hops=6, budget_hops=8))
    assert answer.text == "Hop budget of the calling flow exhausted after 2 hops"


async def test_a_flow_that_runs_already_may_be_called_by_many_nodes_at_once() -> None:
    async def inner(message: object, ctx: Context) -> str:
        await asyncio.sleep(0)
        return f"{message}!"

    async with create(Node(inner)) as shared:

        async def many(message: object, ctx: Context) -> list[object]:
            return list(await asyncio.gather(*(ctx.call_playbook(shared, n) for n in range(5))))

        async with create(Node(many)) as flow:
            assert await flow.ask("go") == [f"{n}!" for n in range(5)]


async def test_something_that_is_no_playbook_is_refused() -> None:
    async with create(calling(lambda: "nothing")) as flow:
        with pytest.raises(FlowError, match="a playbook is a flow"):
            await flow.ask("go")
