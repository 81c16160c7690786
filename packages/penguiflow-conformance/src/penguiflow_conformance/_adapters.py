"""What the contracts share: making adapters, finding what they can do beyond the least, and closing them."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Set
from contextlib import asynccontextmanager
from typing import Any, ClassVar, NoReturn, TypeAlias, TypeVar

import pytest

__all__ = ["Contract", "Make", "call_off", "closing_all", "made"]

T = TypeVar("T")

Make: TypeAlias = Callable[[], T | Awaitable[T]]
"""Makes an adapter; each call makes what another process would have: another handle on the same data."""


class Contract:
    """The base of the contracts: what a user's test class sets about the adapter it proves."""

    pytestmark = pytest.mark.asyncio

    requires: ClassVar[Set[type]] = frozenset()
    """The optional Protocols that the adapter must have: without one its tests fail, where they would be skipped."""

    patience_s: ClassVar[float] = 10.0
    """How long a test waits for what has to come, in seconds. Only an adapter that breaks its contract takes it up."""

    def able(self, adapter: object, protocol: type[T]) -> T:
        """Return the adapter as one that has an optional Protocol; else skip the test, or fail if it is required."""
        if isinstance(adapter, protocol):
            return adapter
        lacks = ", ".join(name for name in _members(protocol) if not hasattr(adapter, name))
        what = f"{type(adapter).__name__} is no {protocol.__name__}: it lacks {lacks}"
        if protocol in self.requires:
            pytest.fail(f"{what}, and {type(self).__name__}.requires names {protocol.__name__}", pytrace=False)
        pytest.skip(what)

    def not_given(self, fixture: str, example: str) -> NoReturn:
        """Fail a test whose class lacks the fixture that makes the adapter."""
        pytest.fail(
            f"{type(self).__name__} has no fixture {fixture!r}; define one that returns a function:\n\n"
            f"    @pytest.fixture\n    def {fixture}(self):\n        return {example}\n",
            pytrace=False,
        )


def _members(protocol: type) -> list[str]:
    return sorted(name for name in vars(protocol) if not name.startswith("_"))


async def made(make: Make[T]) -> T:
    """Call what makes an adapter, and wait for it where that is asynchronous."""
    value = make()
    return await value if inspect.isawaitable(value) else value


@asynccontextmanager
async def closing_all() -> AsyncIterator[list[Any]]:
    """Close every adapter on the list at the end, the latest first, each once."""
    opened: list[Any] = []
    try:
        yield opened
    finally:
        for adapter in {id(adapter): adapter for adapter in reversed(opened)}.values():
            await call_off(adapter)


async def call_off(adapter: object) -> None:
    """Close an adapter by its `aclose` or `close`, where it has one."""
    close = getattr(adapter, "aclose", None) or getattr(adapter, "close", None)
    if close is not None:
        closed = close()
        if inspect.isawaitable(closed):
            await closed
