"""The floors: the least code that does the same work with bounded queues of asyncio, or with bare awaits.

A floor has no traces, no order to keep but that of its queues, no cancellation of one message, no errors: whatever a
flow costs beyond it is what those cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Self

from pydantic import TypeAdapter

from benchmarks.flow._work import BRANCHES, Item, add_one, add_one_after_io

QUEUE_MAXSIZE = 64
"""The bound of each queue, that of a flow by default."""

Step = Callable[[Any, object], Awaitable[Any]]


class Pipeline:
    """A task for each stage, with a bounded queue before each and one behind the last."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.queues = [asyncio.Queue[Any](QUEUE_MAXSIZE) for _ in range(len(steps) + 1)]
        self._steps = steps
        self._tasks: list[asyncio.Task[None]] = []

    def _stages(self) -> Iterable[Awaitable[None]]:
        for step, inbox, outbox in zip(self._steps, self.queues, self.queues[1:], strict=False):
            yield _stage(step, inbox, outbox)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.ensure_future(stage) for stage in self._stages()]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End the tasks; without effect once they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def one_at_a_time(self, values: Iterable[Any]) -> list[Any]:
        """Put each value in once the one before it has come out."""
        put, get = self.queues[0].put, self.queues[-1].get
        results = []
        for value in values:
            await put(value)
            results.append(await get())
        return results

    async def window(self, values: Iterable[Any], size: int) -> list[Any]:
        """Keep `size` values outstanding: take one out before the next goes in."""
        put, get = self.queues[0].put, self.queues[-1].get
        results = []
        outstanding = 0
        for value in values:
            if outstanding >= size:
                results.append(await get())
                outstanding -= 1
            await put(value)
            outstanding += 1
        return results + [await get() for _ in range(outstanding)]

    async def feed(self, values: Iterable[Any], take: Callable[[Any], None]) -> None:
        """Put values in as fast as there is room, while a second task takes them out."""
        put, get = self.queues[0].put, self.queues[-1].get
        fed = taken = 0

        async def collect() -> None:
            nonlocal taken
            while True:
                take(await get())
                taken += 1

        collector = asyncio.ensure_future(collect())
        for value in values:
            await put(value)
            fed += 1
        collector.cancel()
        await asyncio.wait([collector])
        for _ in range(fed - taken):
            take(await get())


class TypedPipeline(Pipeline):
    """A pipeline that validates what goes into each stage and what comes out, with validators built once."""

    def _stages(self) -> Iterable[Awaitable[None]]:
        validate = TypeAdapter(Item).validator.validate_python
        for step, inbox, outbox in zip(self._steps, self.queues, self.queues[1:], strict=False):
            yield _typed_stage(step, validate, inbox, outbox)


class FanOut(Pipeline):
    """One stage that feeds eight, and one that puts their eight parts together again."""

    def __init__(self) -> None:
        super().__init__([add_one])
        self._branches = [asyncio.Queue[Any](QUEUE_MAXSIZE) for _ in range(BRANCHES)]
        self._parts = asyncio.Queue[Any](QUEUE_MAXSIZE)

    def _stages(self) -> Iterable[Awaitable[None]]:
        yield _split(add_one, self.queues[0], self._branches)
        for branch in self._branches:
            yield _branch(add_one, branch, self._parts)
        yield _join(self._parts, self.queues[-1])


async def bare_awaits(count: int, steps: int) -> list[int]:
    """Run `count` tasks at once, each of which awaits its calls one after the other."""

    async def trace(value: int) -> int:
        for _ in range(steps):
            value = await add_one_after_io(value, None)
        return value

    return await asyncio.gather(*(trace(number) for number in range(count)))


class Answering(Pipeline):
    """A pipeline whose callers each wait for their own answer: a future travels beside each value."""

    def _stages(self) -> Iterable[Awaitable[None]]:
        last = len(self._steps) - 1
        for index, (step, inbox) in enumerate(zip(self._steps, self.queues, strict=False)):
            yield _answering_stage(step, inbox, None if index == last else self.queues[index + 1])

    async def ask(self, value: Any) -> Any:
        """Put a value in and wait for what becomes of it."""
        answer = asyncio.get_running_loop().create_future()
        await self.queues[0].put((value, answer))
        return await answer


async def _stage(step: Step, inbox: asyncio.Queue[Any], outbox: asyncio.Queue[Any]) -> None:
    while True:
        await outbox.put(await step(await inbox.get(), None))


async def _typed_stage(
    step: Step, validate: Callable[[Any], Any], inbox: asyncio.Queue[Any], outbox: asyncio.Queue[Any]
) -> None:
    while True:
        await outbox.put(validate(await step(validate(await inbox.get()), None)))


async def _answering_stage(step: Step, inbox: asyncio.Queue[Any], outbox: asyncio.Queue[Any] | None) -> None:
    while True:
        value, answer = await inbox.get()
        value = await step(value, None)
        if outbox is not None:
            await outbox.put((value, answer))
        elif not answer.done():
            answer.set_result(value)


async def _split(step: Step, inbox: asyncio.Queue[Any], branches: Sequence[asyncio.Queue[Any]]) -> None:
    number = 0
    while True:
        value = await step(await inbox.get(), None)
        for branch in branches:
            await branch.put((number, value))
        number += 1


async def _branch(step: Step, inbox: asyncio.Queue[Any], outbox: asyncio.Queue[Any]) -> None:
    while True:
        number, value = await inbox.get()
        await outbox.put((number, await step(value, None)))


async def _join(inbox: asyncio.Queue[Any], outbox: asyncio.Queue[Any]) -> None:
    parts: dict[int, list[Any]] = {}
    while True:
        number, value = await inbox.get()
        bucket = parts.setdefault(number, [])
        bucket.append(value)
        if len(bucket) == BRANCHES:
            await outbox.put(parts.pop(number))
