"""One outcome a trace: what result() and results() give, and when a trace ends."""

import asyncio

import pytest

from penguiflow import (
    FinalAnswer,
    FlowError,
    FlowStopped,
    Message,
    MultipleResults,
    Node,
    NodePolicy,
    NotRunning,
    PenguiFlow,
    QueueFull,
    TraceActive,
    create,
)


async def upper(text: str, ctx: object) -> str:
    return text.upper()


async def exclaim(text: str, ctx: object) -> str:
    return text + "!"


async def silent(text: str, ctx: object) -> None:
    return None


async def broken(text: str, ctx: object) -> str:
    raise ValueError(f"no {text}")


def linear() -> PenguiFlow:
    return create(Node(upper).to(Node(exclaim)))


async def test_ask_gives_the_only_value_of_a_linear_flow() -> None:
    async with linear() as flow:
        assert await flow.ask("hi") == "HI!"


async def test_a_trace_without_a_value_gives_none() -> None:
    async with create(Node(silent)) as flow:
        assert await flow.ask("hi") is None


async def test_result_refuses_several_values_and_results_gives_them_in_order_of_arrival() -> None:
    start, first, second = Node(upper), Node(exclaim, "first"), Node(exclaim, "second")
    async with create(start.to(first, second)) as flow:
        trace = await flow.submit("hi")
        with pytest.raises(MultipleResults, match="2 values") as caught:
            await trace.result()
        assert caught.value.count == 2
        assert await trace.results() == [("first", "HI!"), ("second", "HI!")]


async def test_any_number_of_tasks_may_await_one_trace() -> None:
    async with linear() as flow:
        trace = await flow.submit("hi")
        assert await asyncio.gather(*(trace.result() for _ in range(10))) == ["HI!"] * 10


async def test_a_hundred_callers_at_once_get_their_own_results() -> None:
    async with linear() as flow:
        answers = await asyncio.gather(*(flow.ask(f"q{n}") for n in range(100)))
    assert answers == [f"Q{n}!" for n in range(100)]


async def test_a_bare_payload_stays_bare_and_a_message_stays_a_message() -> None:
    async def shout(message: Message, ctx: object) -> Message:
        return message.model_copy(update={"payload": message.payload.upper()})

    async with create(Node(shout)) as flow:
        answer = await flow.ask(Message(payload="hi", meta={"cost": 1}))
    assert isinstance(answer, Message)
    assert (answer.payload, answer.meta) == ("HI", {"cost": 1})


async def test_the_first_error_ends_the_trace_and_keeps_what_came_before() -> None:
    async with create(Node(upper).to(Node(exclaim, "good"), Node(broken))) as flow:
        with pytest.raises(FlowError, match="no HI") as caught:
            await flow.ask("hi")
    error = caught.value
    assert (error.code, error.node_name) == ("NODE_EXCEPTION", "broken")
    assert isinstance(error.original_exc, ValueError)
    assert error.partial == [("good", "HI!")]


async def test_a_failed_trace_does_not_disturb_the_next_one() -> None:
    async def picky(text: str, ctx: object) -> str:
        if text == "bad":
            raise ValueError(text)
        return text

    async with create(Node(picky)) as flow:
        outcomes = await asyncio.gather(*(flow.ask(t) for t in ("a", "bad", "b")), return_exceptions=True)
    assert outcomes[0] == "a"
    assert isinstance(outcomes[1], FlowError)
    assert outcomes[2] == "b"


async def test_a_final_answer_ends_its_branch_only_and_arrives_once() -> None:
    runs: list[str] = []

    async def decide(text: str, ctx: object) -> FinalAnswer:
        runs.append(text)
        return FinalAnswer(text=text)

    async def after(answer: object, ctx: object) -> object:
        raise AssertionError("a final answer must not travel on")

    start, deciding = Node(upper), Node(decide)
    async with create(start.to(deciding, Node(exclaim)), deciding.to(Node(after))) as flow:
        results = await (await flow.submit("hi")).results()
    assert sorted(name for name, _ in results) == ["decide", "exclaim"]
    assert runs == ["HI"]


async def test_an_id_that_is_active_is_refused_and_free_again_once_the_trace_ends() -> None:
    gate = asyncio.Event()

    async def wait(text: str, ctx: object) -> str:
        await gate.wait()
        return text

    async with create(Node(wait)) as flow:
        trace = await flow.submit(Message(payload="a", trace_id="t"))
        with pytest.raises(TraceActive, match="'t'"):
            await flow.submit(Message(payload="b", trace_id="t"))
        gate.set()
        assert (await trace.result()).payload == "a"
        assert (await flow.ask(Message(payload="c", trace_id="t"))).payload == "c"


async def test_submit_nowait_raises_when_the_entry_is_full_and_leaves_nothing_behind() -> None:
    async with create(Node(upper), queue_maxsize=2) as flow:
        accepted = [flow.submit_nowait("a"), flow.submit_nowait("b")]
        with pytest.raises(QueueFull, match="queue_maxsize"):
            flow.submit_nowait("c")
        assert len(flow.active_traces) == 2
        assert [await trace.result() for trace in accepted] == ["A", "B"]
        assert flow.active_traces == []


async def test_submit_waits_for_admission_in_order_of_arrival() -> None:
    gate = asyncio.Event()
    served: list[int] = []

    async def serve(number: int, ctx: object) -> int:
        await gate.wait()
        served.append(number)
        return number

    flow = create(Node(serve, policy=NodePolicy(max_concurrency=1)), queue_maxsize=1)
    async with flow:
        asking = [asyncio.create_task(flow.ask(n)) for n in range(6)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(flow.active_traces) == 6
        gate.set()
        assert await asyncio.gather(*asking) == served == list(range(6))


async def test_use_before_run_and_after_stop_says_so() -> None:
    flow = linear()
    with pytest.raises(NotRunning, match=r"flow\.run\(\)"):
        await flow.ask("hi")
    async with flow:
        pass
    with pytest.raises(NotRunning):
        await flow.submit("hi")
    with pytest.raises(FlowStopped):
        await flow.fetch()


async def test_a_stopped_flow_runs_again_from_nothing() -> None:
    flow = linear()
    for _ in range(2):
        async with flow.run() as running:
            assert running is flow
            assert await flow.ask("hi") == "HI!"


async def test_run_may_be_awaited_and_refuses_to_start_twice() -> None:
    flow = linear()
    assert await flow.run() is flow
    with pytest.raises(ValueError, match="runs already"):
        flow.run()
    await flow.stop()


def test_ask_sync_answers_in_a_script() -> None:
    assert linear().ask_sync("hi") == "HI!"


def test_run_outside_an_event_loop_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="ask_sync"):
        linear().run()


async def test_ask_sync_inside_an_event_loop_is_refused() -> None:
    with pytest.raises(ValueError, match=r"await flow\.ask"):
        linear().ask_sync("hi")


async def test_a_trace_may_not_give_more_values_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penguiflow._runtime.run.RESULTS_CAP", 3)

    async def flood(text: str, ctx: object) -> None:
        for _ in range(4):
            await ctx.emit(text)  # type: ignore[attr-defined]

    async with create(Node(flood)) as flow:
        with pytest.raises(FlowError, match="more than 3 values") as caught:
            await flow.ask("hi")
    assert caught.value.code == "QUEUE_OVERFLOW"
    assert len(caught.value.partial) == 3
