"""Exceptions of a kind that nobody expects: each fails its trace, and no slot of the node is lost."""

import asyncio
from typing import Self

import pytest
from pydantic import BaseModel, model_validator

from penguiflow import Context, FlowError, FlowErrorCode, Message, ModelRegistry, Node, NodePolicy, create

ONE_AT_A_TIME = NodePolicy(max_concurrency=1)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Unvalidatable(BaseModel):
    @model_validator(mode="after")
    def refuse(self) -> Self:
        raise Unspeakable


class Uncopyable(Message):
    def model_copy(self, *, update: object = None, deep: bool = False) -> Self:
        raise OSError("not to be copied")


async def test_an_exception_without_a_text_fails_its_trace_and_frees_the_slot() -> None:
    async def fail(message: object, ctx: Context) -> None:
        raise Unspeakable

    async with create(Node(fail, "node", policy=ONE_AT_A_TIME)) as flow, asyncio.timeout(5):
        for _ in range(2):
            with pytest.raises(FlowError, match="Unspeakable") as failed:
                await flow.ask("x")
            assert isinstance(failed.value.original_exc, Unspeakable)


async def test_a_validator_that_raises_something_without_a_text_is_a_validation_failure() -> None:
    async def passes(message: object, ctx: Context) -> object:
        return message

    registry = ModelRegistry()
    registry.register("node", Unvalidatable, Unvalidatable)
    async with create(Node(passes, "node", policy=ONE_AT_A_TIME)).run(registry) as flow, asyncio.timeout(5):
        for _ in range(2):
            with pytest.raises(FlowError) as failed:
                await flow.ask({})
            assert failed.value.code == FlowErrorCode.VALIDATION_FAILED


async def test_a_message_that_cannot_be_adopted_fails_its_trace_and_frees_the_slot() -> None:
    async def replies(message: object, ctx: Context) -> Message:
        return Uncopyable(payload=message)

    async with create(Node(replies, "node", policy=ONE_AT_A_TIME)) as flow, asyncio.timeout(5):
        for _ in range(2):
            with pytest.raises(FlowError, match="not to be copied"):
                await flow.ask("x")


async def test_a_back_off_too_long_for_a_float_is_cut_to_max_backoff() -> None:
    async def fail(message: object, ctx: Context) -> None:
        raise ValueError(ctx.attempt)

    policy = NodePolicy(max_concurrency=1, max_retries=3, backoff_base=0.001, backoff_mult=1e200, max_backoff=0.001)
    async with create(Node(fail, "node", policy=policy)) as flow, asyncio.timeout(5):
        with pytest.raises(FlowError, match="ValueError: 3"):
            await flow.ask("x")


async def test_one_error_object_raised_in_two_traces_keeps_their_values_apart() -> None:
    refusal = FlowError(code="REFUSED", message="not today")

    async def refuse(message: str, ctx: Context) -> None:
        await ctx.emit(message)
        raise refusal

    async with create(Node(refuse, "node")) as flow:
        for text in ("mine", "yours"):
            trace = await flow.submit(text)
            with pytest.raises(FlowError) as failed:
                await trace.result()
            assert (failed.value.code, failed.value.trace_id) == ("REFUSED", trace.trace_id)
            assert failed.value.partial == [("node", text)]
    assert (refusal.partial, refusal.trace_id) == ([], None)
