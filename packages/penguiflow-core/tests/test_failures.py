"""Retries, time-outs, deadlines and validation: every way a trace can fail has a stable code."""

import asyncio
import gc
import time

import pytest
from pydantic import BaseModel

from penguiflow import (
    Context,
    FlowError,
    Headers,
    Message,
    ModelRegistry,
    Node,
    NodePolicy,
    ValidationFailed,
    create,
)


class Question(BaseModel):
    text: str
    limit: int = 3


class Answer(BaseModel):
    text: str


async def answer(question: Question, ctx: object) -> Answer:
    return Answer(text=question.text * question.limit)


def registry(**models: tuple[object, object]) -> ModelRegistry:
    made = ModelRegistry()
    for name, (taken, given) in models.items():
        made.register(name, taken, given)
    return made


async def test_a_failing_node_is_tried_again_with_the_same_idempotency_key() -> None:
    keys: list[str] = []

    async def flaky(text: str, ctx: Context) -> str:
        keys.append(ctx.idempotency_key)
        if ctx.attempt < 2:
            raise ConnectionError("down")
        return text

    async with create(Node(flaky, policy=NodePolicy(max_retries=2, backoff_base=0))) as flow:
        assert await flow.ask("a") == "a"
        assert await flow.ask("b") == "b"
    assert len(keys) == 6
    assert len(set(keys)) == 2


async def test_exhausted_retries_end_in_the_last_error() -> None:
    async def failing(text: str, ctx: Context) -> str:
        raise ConnectionError(f"attempt {ctx.attempt}")

    async with create(Node(failing, policy=NodePolicy(max_retries=2, backoff_base=0))) as flow:
        with pytest.raises(FlowError, match="attempt 2") as caught:
            await flow.ask("a")
    assert (caught.value.code, caught.value.node_name) == ("NODE_EXCEPTION", "failing")


async def test_a_time_out_interrupts_the_node_and_counts_as_a_failed_attempt() -> None:
    interrupted: list[int] = []

    async def slow(text: str, ctx: Context) -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            interrupted.append(ctx.attempt)
            raise
        return text

    policy = NodePolicy(timeout_s=0.01, max_retries=1, backoff_base=0)
    async with create(Node(slow, policy=policy)) as flow:
        with pytest.raises(FlowError, match=r"timeout_s=0\.01") as caught:
            await flow.ask("a")
    assert caught.value.code == "NODE_TIMEOUT"
    assert isinstance(caught.value.original_exc, TimeoutError)
    assert interrupted == [0, 1]


async def test_a_deadline_interrupts_a_running_node() -> None:
    unwound = asyncio.Event()

    async def slow(message: Message, ctx: Context) -> Message:
        try:
            await asyncio.sleep(30)
        finally:
            unwound.set()
        return message

    async with create(Node(slow)) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload="a", deadline_s=time.time() + 0.05))
        assert caught.value.code == "DEADLINE_EXCEEDED"
        await unwound.wait()


async def test_a_deadline_that_has_passed_runs_no_node() -> None:
    ran: list[object] = []

    async def work(message: Message, ctx: Context) -> None:
        ran.append(message)

    async with create(Node(work)) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload="a", deadline_s=time.time() - 1))
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert ran == []


async def test_a_node_may_tighten_the_deadline_of_its_trace_but_not_extend_it() -> None:
    seen: list[float | None] = []

    async def tighten(message: Message, ctx: Context) -> Message:
        return message.model_copy(update={"deadline_s": message.payload})

    async def look(message: Message, ctx: Context) -> None:
        seen.append(message.deadline_s)

    now = time.time()
    async with create(Node(tighten).to(Node(look))) as flow:
        for wanted in (now + 50, now + 200, None):
            await flow.ask(Message(payload=wanted, deadline_s=now + 100))
    assert seen == [now + 50, now + 100, now + 100]


async def test_validated_payloads_arrive_as_models() -> None:
    async with create(Node(answer)).run(registry(answer=(Question, Answer))) as flow:
        assert await flow.ask({"text": "a"}) == Answer(text="aaa")
        wrapped = await flow.ask(Message(payload={"text": "b"}, meta={"k": 1}))
    assert (wrapped.payload, wrapped.meta) == (Answer(text="bbb"), {"k": 1})


async def test_an_invalid_payload_is_an_error_of_its_trace_with_pydantic_details() -> None:
    async with create(Node(answer)).run(registry(answer=(Question, Answer))) as flow:
        with pytest.raises(ValidationFailed) as caught:
            await flow.ask({"limit": "many"})
        assert (await flow.ask({"text": "x", "limit": 1})).text == "x"
    error = caught.value
    assert (error.code, error.node_name, error.stage) == ("VALIDATION_FAILED", "answer", "in")
    assert {tuple(detail["loc"]) for detail in error.details} == {("text",), ("limit",)}


async def test_an_invalid_output_is_tried_again_and_then_fails_the_trace() -> None:
    attempts: list[int] = []

    async def sloppy(question: Question, ctx: Context) -> object:
        attempts.append(ctx.attempt)
        return {"txt": "typo"}

    policy = NodePolicy(max_retries=1, backoff_base=0)
    async with create(Node(sloppy, policy=policy)).run(registry(sloppy=(Question, Answer))) as flow:
        with pytest.raises(ValidationFailed, match="invalid output") as caught:
            await flow.ask({"text": "a"})
    assert caught.value.stage == "out"
    assert attempts == [0, 1]


@pytest.mark.parametrize(("validate", "outcome"), [("in", 7), ("none", 7)])
async def test_a_side_that_is_not_validated_passes_as_it_is(validate: str, outcome: int) -> None:
    async def loose(question: object, ctx: Context) -> int:
        return 7

    policy = NodePolicy(validate=validate)  # type: ignore[arg-type]
    async with create(Node(loose, policy=policy)).run(registry(loose=(Question, Answer))) as flow:
        assert await flow.ask({"text": "a"}) == outcome


async def test_a_registry_without_a_node_is_refused_at_run() -> None:
    with pytest.raises(ValueError, match=r"registry.register\('answer'"):
        create(Node(answer)).run(ModelRegistry())


async def test_a_flow_error_of_a_node_keeps_its_code() -> None:
    async def limited(text: str, ctx: Context) -> str:
        raise FlowError(code="RATE_LIMITED", message="slow down")

    async with create(Node(limited)) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask("a")
    assert (caught.value.code, caught.value.node_name) == ("RATE_LIMITED", "limited")
    assert caught.value.trace_id


async def test_emitting_after_the_trace_has_ended_says_so() -> None:
    kept: list[Context] = []

    async def leak(text: str, ctx: Context) -> str:
        kept.append(ctx)
        return text

    async with create(Node(leak)) as flow:
        await flow.ask("a")
        with pytest.raises(FlowError, match="has ended") as caught:
            await kept[0].emit("late")
        with pytest.raises(FlowError, match="has ended"):
            await kept[0].emit_chunk(text="late")
    assert caught.value.code == "TRACE_ENDED"


async def test_an_unknown_target_names_the_successors() -> None:
    async def route(text: str, ctx: Context) -> None:
        await ctx.emit(text, to="nowhere")

    async with create(Node(route).to(Node(answer))) as flow:
        with pytest.raises(
            FlowError, match=r"'nowhere' is not a successor of 'route' \(there is: 'answer'\)"
        ) as caught:
            await flow.ask("a")
        assert caught.value.code == "UNKNOWN_TARGET"
        with pytest.raises(ValueError, match="'elsewhere'"):
            await flow.submit("a", to="elsewhere")


async def test_a_failure_that_nobody_awaits_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(text: str, ctx: Context) -> str:
        raise ValueError(f"broken {text}")

    async with create(Node(failing)) as flow:
        await flow.submit("unseen")
        with pytest.raises(FlowError):
            await flow.ask("seen")
        (await flow.submit("cancelled")).cancel()
        await flow.stop()
    gc.collect()
    assert [record.getMessage().count("broken unseen") for record in caplog.records] == [1]


def test_a_flow_whose_loop_has_closed_starts_again() -> None:
    flow = create(Node(answer))

    async def leave_running() -> None:
        flow.run()

    asyncio.run(leave_running())
    assert flow.ask_sync(Question(text="a", limit=1)) == Answer(text="a")


async def test_what_is_no_store_or_bus_is_refused_at_run() -> None:
    for option in ("state_store", "message_bus"):
        with pytest.raises(ValueError, match=option):
            create(Node(answer), **{option: object()}).run()


def test_a_mistyped_field_of_a_message_is_refused() -> None:
    for build in (lambda: Message(payload=1, deadline=3), lambda: Headers(tenent="a")):  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="Extra inputs"):
            build()
