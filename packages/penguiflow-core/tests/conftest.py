"""Links to a store and a bus that can be cut at any call, as when the process behind them dies or is stopped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penguiflow import InMemoryStateStore, InProcBus

_STORE = [name for name in vars(InMemoryStateStore) if not name.startswith("_")]
_BUS = ("put", "put_many", "get", "ack", "nack", "extend", "expire")


class Process:
    """What one process has of the shared store and bus.

    Its calls are counted. From the `dies_at`-th on none returns: with `done`, that one has still taken effect.
    """

    def __init__(self, store: InMemoryStateStore, bus: InProcBus | None = None, *, dies_at: int | None = None) -> None:
        self.calls = 0
        self.dies_at = dies_at
        self.done = False
        self.dead = asyncio.Event()
        self.woken = asyncio.Event()
        self.store: Any = _link("Store", _STORE, self, store)
        self.bus: Any = None if bus is None else _link("Bus", _BUS, self, bus, lease_s=bus.lease_s)

    async def pass_on(self, call: Any) -> Any:
        """Make a call, if the process lives that long."""
        self.calls += 1
        dies = self.dies_at is not None and self.calls == self.dies_at
        if self.dead.is_set() or (dies and not self.done):
            self.dead.set()
            await self.woken.wait()
        answer = await call()
        if dies and self.done:
            self.dead.set()
            await self.woken.wait()
        return answer


def _link(kind: str, names: Any, process: Process, target: Any, **attributes: Any) -> Any:
    def method(name: str) -> Any:
        async def call(self: Any, *args: Any, **options: Any) -> Any:
            return await process.pass_on(lambda: getattr(target, name)(*args, **options))

        return call

    return type(kind, (), {**{name: method(name) for name in names}, **attributes})()


@pytest.fixture
def process() -> type[Process]:
    """Return the class of processes that die."""
    return Process
