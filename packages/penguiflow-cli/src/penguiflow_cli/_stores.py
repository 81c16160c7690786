"""Opens and closes what the commands use."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from penguiflow_cli._exits import Exit, fail

__all__ = ["able", "answered", "opened"]

T = TypeVar("T")

_CLOSE_S = 5.0
_ANSWER_S = 15.0


@asynccontextmanager
async def opened(*adapters: object) -> AsyncIterator[None]:
    """Close stores and buses by their `aclose` or `close` at the end, for at most 5 seconds each."""
    try:
        yield
    finally:
        for adapter in adapters:
            close = getattr(adapter, "aclose", None) or getattr(adapter, "close", None)
            if close is None:
                continue
            async with asyncio.timeout(_CLOSE_S):
                closing = close()
                if inspect.isawaitable(closing):
                    await closing


def able(adapter: object, protocol: type[T], wanted: str) -> T:
    """Return a store or bus as one that can do what a command needs; else say so, and end."""
    if not isinstance(adapter, protocol):
        fail(Exit.UNAVAILABLE, f"{type(adapter).__name__} cannot {wanted}: it is no {protocol.__name__}")
    return adapter


async def answered(asked: Awaitable[T]) -> T:
    """Return what a bus answers; one that waits for its server to come back gets 15 seconds."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            return await asked
    except TimeoutError:
        fail(Exit.UNAVAILABLE, f"the bus did not answer within {_ANSWER_S:g} s; is its server there?")
