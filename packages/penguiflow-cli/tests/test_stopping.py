"""How a worker stops, within this process: signals, a drain that ends, one that does not."""

import asyncio
import os
import signal
from typing import Any

import pytest
import typer

from penguiflow_cli._commands import worker
from penguiflow_cli._exits import Exit
from penguiflow_cli._signals import Signals


class Flow:
    """A flow whose drain lasts until it is stopped without one."""

    def __init__(self, *, drains: bool = False, stops: bool = True) -> None:
        self.drains, self.stops = drains, stops
        self.stopped = asyncio.Event()
        self.calls: list[bool] = []

    async def stop(self, *, drain: bool = True, timeout_s: float | None = None) -> None:
        self.calls.append(drain)
        if self.drains:
            return
        if not drain and self.stops:
            self.stopped.set()
        await self.stopped.wait()


async def stop(flow: Any, *, again: bool = False) -> int:
    with Signals(signal.SIGTERM) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert await signals.wait() == signal.SIGTERM
        if again:
            os.kill(os.getpid(), signal.SIGTERM)
        return await worker._stop(flow, signals, 30.0)


async def test_a_drain_that_ends_ends_well() -> None:
    flow = Flow(drains=True)

    assert await stop(flow) == Exit.OK
    assert flow.calls == [True]


async def test_a_second_signal_ends_the_drain() -> None:
    flow = Flow()

    assert await stop(flow, again=True) == 128 + signal.SIGTERM
    assert flow.calls == [True, False]


async def test_a_flow_that_does_not_stop_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_HANDED_BACK_S", 0.05)

    with pytest.raises(typer.Exit) as caught:
        await stop(Flow(stops=False), again=True)
    assert caught.value.exit_code == Exit.FAILED


async def test_the_handlers_from_before_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals(signal.SIGTERM):
        assert signal.getsignal(signal.SIGTERM) is not before

    assert signal.getsignal(signal.SIGTERM) is before
