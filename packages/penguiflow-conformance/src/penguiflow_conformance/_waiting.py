"""Waits for what another party is about to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["until"]

T = TypeVar("T")

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.1


async def until(ask: Callable[[], Awaitable[T | None]], *, patience_s: float, rule: str) -> T:
    """Ask again and again until the answer is true, and return it.

    Raises:
        AssertionError: that took longer than `patience_s` seconds; it says which rule is broken.
    """
    deadline = time.monotonic() + patience_s
    pause_s = _FIRST_PAUSE_S
    while True:
        answer = await ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{rule} (waited {patience_s} s)"
        # What it waits for happens in a server or by its clock, which wakes nobody here.
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
