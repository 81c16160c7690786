"""When a request is sent again: never, where the agent may have begun to act on the first one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from penguiflow_a2a._client.bounds import A2ATimeouts
from penguiflow_a2a._client.failures import A2AError, AgentRefused, AgentTooSlow, AgentUnreachable

__all__ = ["again", "backoff_s", "pause_s"]

_T = TypeVar("_T")

_GATEWAYS = frozenset({502, 503, 504})
_LONGEST_BACKOFF_S = 10.0


async def again(attempt: Callable[[], Awaitable[_T]], timeouts: A2ATimeouts, *, idempotent: bool) -> _T:
    """Make an attempt, and further ones where that is safe and may help.

    What is not idempotent is tried again only if the agent surely did not act on it: there was no connection, or the
    agent said that it has no time (status 429, or 503 with `Retry-After`).
    """
    tried = 0
    while True:
        try:
            return await attempt()
        except A2AError as error:
            delay_s = pause_s(error, timeouts, tried, idempotent=idempotent)
            if delay_s is None or tried >= timeouts.retries:
                raise
        tried += 1
        await asyncio.sleep(delay_s)


def pause_s(error: A2AError, timeouts: A2ATimeouts, tried: int, *, idempotent: bool) -> float | None:
    """Return how long to wait before the next attempt; None where there must be none."""
    if isinstance(error, AgentUnreachable):
        return backoff_s(timeouts, tried) if idempotent or not error.sent else None
    if isinstance(error, AgentTooSlow):
        return backoff_s(timeouts, tried) if idempotent and error.limit != "call_s" else None
    if not isinstance(error, AgentRefused):
        return None
    wait_s = error.retry_after_s
    if error.http_status == 429 or (error.http_status == 503 and wait_s is not None):
        if wait_s is None:
            return backoff_s(timeouts, tried)
        return wait_s if wait_s <= timeouts.retry_after_s else None
    return backoff_s(timeouts, tried) if idempotent and error.http_status in _GATEWAYS else None


def backoff_s(timeouts: A2ATimeouts, tried: int) -> float:
    """Return the pause after `tried` retries: doubled each time, and spread so that clients don't come back at once."""
    longest_s = min(timeouts.backoff_s * 2.0 ** min(tried, 20), _LONGEST_BACKOFF_S)
    return longest_s * random.uniform(0.5, 1.0)
