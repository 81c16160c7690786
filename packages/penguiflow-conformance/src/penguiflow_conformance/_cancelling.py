"""Cancels a call at each place where it waits."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

__all__ = ["Attempt", "at_each_await"]

T = TypeVar("T")

Moment: TypeAlias = Literal["waiting", "answered"]
"""When to cancel: as the call begins to wait, or as what it waits for is there and the call has not gone on."""

_MOMENTS: tuple[Moment, ...] = ("waiting", "answered")

MOST_AWAITS = 500
"""A call that waits more often than this is cancelled at its first 500 places only."""


@dataclass(frozen=True, slots=True)
class Attempt(Generic[T]):
    """What came of a call that was to be cancelled."""

    where: str
    """At which place, for a message."""
    cancelled: bool
    """Whether the call ended in `CancelledError`."""
    value: T | None = None
    """What it returned otherwise."""


class _Counted(Generic[T]):
    """Steps a coroutine, and cancels the task it runs in when it waits for the `at`-th time."""

    def __init__(self, inner: Coroutine[Any, Any, T], at: int, moment: Moment) -> None:
        self._inner = inner
        self._at = at
        self._moment = moment
        self._waits = 0

    @property
    def reached(self) -> bool:
        """Whether the call has waited so often."""
        return self._waits >= self._at

    def __await__(self) -> Generator[Any, Any, T]:
        return (yield from self._steps())

    def _steps(self) -> Generator[Any, Any, T]:
        waiting = self._inner.__await__()
        sent: Callable[[], Any] = lambda: waiting.send(None)  # noqa: E731
        while True:
            try:
                awaited = sent()
            except StopIteration as stop:
                result: T = stop.value
                return result
            self._waits += 1
            if self._waits == self._at:
                self._cancel(awaited)
            try:
                answer = yield awaited
            except BaseException as error:
                thrown = error
                sent = lambda: waiting.throw(thrown)  # noqa: B023, E731
            else:
                sent = lambda: waiting.send(answer)  # noqa: B023, E731

    def _cancel(self, awaited: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._moment == "answered" and isinstance(awaited, asyncio.Future):
            # Called before the task is woken: the callback that wakes it is added after this one.
            awaited.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()


async def at_each_await(
    call: Callable[[int], Coroutine[Any, Any, T]],
    *,
    before: Callable[[int], Coroutine[Any, Any, None]] | None = None,
) -> AsyncIterator[tuple[int, Attempt[T]]]:
    """Call again and again, and cancel each call at the next place where it waits, until a call waits no more.

    `call` gets the number of the attempt, from 0, and makes a fresh call; `before` gets it too, and prepares for the
    call without being cancelled. Yields after each attempt.
    """
    number = itertools.count()
    for moment in _MOMENTS:
        for at in range(1, MOST_AWAITS + 1):
            index = next(number)
            if before is not None:
                await before(index)
            counted = _Counted(call(index), at, moment)
            attempt = await _run(counted, f"its await number {at}, while it was {moment}")
            yield index, attempt
            if not counted.reached:
                break


async def _run(counted: _Counted[T], where: str) -> Attempt[T]:
    async def run() -> T:
        return await counted

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    if task.cancelled():
        return Attempt(where, cancelled=True)
    return Attempt(where, cancelled=False, value=task.result())
