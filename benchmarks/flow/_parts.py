"""What a runtime could be built of: the price of one operation each, behind the decisions in `docs/adr`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import anyio
from pydantic import TypeAdapter

from benchmarks.flow._rounds import Case, Stopwatch
from benchmarks.flow._samples import Sample
from benchmarks.flow._work import Item, add_one, item


def part_cases(count: int) -> list[Case]:
    """Return a case for each operation, the floors first."""
    queue = _case("hand over", "asyncio.Queue: put, get", count, _awaiting(_queue))
    validator = _case("validate a model", "validator", count, _calling(TypeAdapter(Item).validator.validate_python))
    return [
        queue,
        _case("hand over", "anyio memory stream: send, receive", count, _awaiting(_stream), queue),
        _case("hand over", "anyio cancel scope around a call", count, _awaiting(_scope), queue),
        _case("hand over", "anyio task group with one task", count, _awaiting(_group), queue),
        validator,
        _case("validate a model", "TypeAdapter", count, _calling(TypeAdapter(Item).validate_python), validator),
        _case("validate a model", "TypeAdapter, built each time", count, _calling(_built), validator),
    ]


def _case(task: str, contender: str, count: int, sample: Sample, *floors: Case) -> Case:
    return Case(
        part="p", task=task, payloads="one operation", contender=contender, count=count, sample=sample, floors=floors
    )


def _awaiting(make: Callable[[], AbstractContextManager[Callable[[], Awaitable[Any]]]]) -> Sample:
    async def sample(count: int) -> float:
        with make() as operation, Stopwatch(time.process_time) as stopwatch:
            for _ in range(count):
                await operation()
        return stopwatch.elapsed_s

    return sample


def _calling(validate: Callable[[Any], Any]) -> Sample:
    async def sample(count: int) -> float:
        model = item(1)
        with Stopwatch(time.process_time) as stopwatch:
            for _ in range(count):
                validate(model)
        return stopwatch.elapsed_s

    return sample


def _built(model: Any) -> Any:
    return TypeAdapter(Item).validate_python(model)


@contextmanager
def _queue() -> Iterator[Callable[[], Awaitable[None]]]:
    queue: asyncio.Queue[int] = asyncio.Queue(64)

    async def operation() -> None:
        await queue.put(1)
        await queue.get()

    yield operation


@contextmanager
def _stream() -> Iterator[Callable[[], Awaitable[None]]]:
    send, receive = anyio.create_memory_object_stream[int](64)

    async def operation() -> None:
        await send.send(1)
        await receive.receive()

    with send, receive:
        yield operation


@contextmanager
def _scope() -> Iterator[Callable[[], Awaitable[None]]]:
    async def operation() -> None:
        with anyio.CancelScope():
            await add_one(1, None)

    yield operation


@contextmanager
def _group() -> Iterator[Callable[[], Awaitable[None]]]:
    async def operation() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(add_one, 1, None)

    yield operation
