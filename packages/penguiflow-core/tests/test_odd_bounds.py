"""Deadlines, targets and bounds that no one should pass, and what a call that may not wait does at a full exit."""

import asyncio
import math
import time
from typing import Any

import pytest
from pydantic import ValidationError

from penguiflow import (
    Context,
    FlowDefinitionError,
    FlowError,
    FlowErrorCode,
    Message,
    Node,
    NodePolicy,
    QueueFull,
    create,
)


async def passes(message: object, ctx: Context) -> object:
    return message


async def test_a_deadline_that_is_no_number_is_refused_where_the_message_is_made() -> None:
    with pytest.raises(ValidationError, match="not NaN"):
        Message(payload="x", deadline_s=math.nan)


async def test_a_deadline_that_slipped_in_as_nan_delays_no_other_deadline() -> None:
    async def sleeps(message: Message, ctx: Context) -> Message:
        await asyncio.sleep(0.2 if math.isnan(message.deadline_s or 0.0) else 30)
        return message

    odd = Message(payload="x").model_copy(update={"deadline_s": math.nan})
    async with create(Node(sleeps, "node")) as flow, asyncio.timeout(5):
        trace = await flow.submit(odd)
        with pytest.raises(FlowError) as failed:
            await flow.ask(Message(payload="y", deadline_s=time.time() + 0.05))
        assert failed.value.code == FlowErrorCode.DEADLINE_EXCEEDED
        assert (await trace.result()).payload == "x"


@pytest.mark.parametrize(
    "option",
    [
        {"max_retries": math.nan},
        {"max_retries": None},
        {"max_concurrency": math.nan},
        {"max_concurrency": 1.5},
        {"max_concurrency": "3"},
        {"timeout_s": "5"},
        {"timeout_s": math.nan},
        {"backoff_base": None},
        {"backoff_base": math.inf},
        {"backoff_mult": math.inf},
    ],
)
def test_a_policy_bound_of_the_wrong_kind_is_refused_by_name(option: dict[str, Any]) -> None:
    with pytest.raises(FlowDefinitionError, match=next(iter(option))):
        NodePolicy(**option)


async def test_sending_to_nobody_is_refused() -> None:
    async def emits(message: object, ctx: Context) -> None:
        await ctx.emit(message, to=[])

    source, sink = Node(emits, "source"), Node(passes, "sink")
    async with create(source.to(sink)) as flow, asyncio.timeout(5):
        with pytest.raises(FlowDefinitionError, match=r"to=\[\] names no successor of 'source'"):
            await flow.ask("x")
        for refused in (flow.submit("x", to=[]), flow.emit("x", to=[])):
            with pytest.raises(FlowDefinitionError, match=r"to=\[\] names no node"):
                await refused
        assert flow.active_traces == []


async def test_emit_nowait_at_an_exit_that_nobody_fetches_from_raises_queue_full() -> None:
    taken: list[int] = []

    async def emits(message: object, ctx: Context) -> None:
        for number in range(100):
            try:
                ctx.emit_nowait(number)
            except QueueFull:
                return
            taken.append(number)

    async with create(Node(emits, "node"), queue_maxsize=4) as flow, asyncio.timeout(5):
        await flow.emit("x")
        assert [await flow.fetch() for _ in range(4)] == [0, 1, 2, 3]
        assert taken == [0, 1, 2, 3]
