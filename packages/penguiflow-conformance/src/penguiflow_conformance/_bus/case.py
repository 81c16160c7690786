"""What the tests of a MessageBus share."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from penguiflow.bus import Delivery, ExtendableLeases, MessageBus
from penguiflow_conformance._adapters import Contract, Make, closing_all, made

__all__ = ["BusCase", "OpenBus", "fill", "in_trace", "number_of"]

OpenBus = Callable[[], Awaitable[MessageBus]]
"""Opens another handle on the same queues, as another process would."""

_TRIALS = 5


class BusCase(Contract):
    """Opens the buses of a test, and closes them after it."""

    lease_s: ClassVar[float] = 1.0
    """How long a delivery of the buses made here is held, in seconds; a bus that tells its own `lease_s` goes first."""

    capacity: ClassVar[int] = 16
    """How many messages of one trace a queue of the buses made here holds that are not acknowledged."""

    max_deliveries: ClassVar[int] = 5
    """How often the buses made here deliver a message before it is a dead letter; for a bus with `DeadLetters`."""

    calm_s: ClassVar[float] = 0.3
    """How long nothing may happen for it to count as waiting, in seconds. More only makes the tests slower."""

    @pytest.fixture
    def make_bus(self) -> Make[MessageBus]:
        """Return what makes the bus; each call makes another handle on the same queues."""
        self.not_given("make_bus", "lambda: MyBus(lease_s=self.lease_s, ...)")

    @pytest_asyncio.fixture
    async def open_bus(self, make_bus: Make[MessageBus]) -> AsyncIterator[OpenBus]:
        """Return what opens a handle; all are closed after the test."""
        async with closing_all() as opened:

            async def open_one() -> MessageBus:
                bus = await made(make_bus)
                opened.append(bus)
                return bus

            yield open_one

    @pytest_asyncio.fixture
    async def bus(self, open_bus: OpenBus) -> MessageBus:
        """Return one handle."""
        return await open_bus()

    @pytest.fixture
    def queue(self) -> str:
        """Return the name of a queue that no other test uses, since tests may share a server."""
        return f"contract-{uuid.uuid4()}"

    def lease_of(self, bus: MessageBus) -> float:
        """Return how long the bus holds a delivery, in seconds."""
        return bus.lease_s if isinstance(bus, ExtendableLeases) else self.lease_s

    async def take(self, bus: MessageBus, queue: str, rule: str = "a message that was put is delivered") -> Delivery:
        """Take a message that has to come."""
        delivery = await self.take_within(bus, queue, self.patience_s + 3 * self.lease_of(bus))
        assert delivery is not None, f"{rule} (waited {self.patience_s + 3 * self.lease_of(bus)} s)"
        return delivery

    async def take_within(self, bus: MessageBus, queue: str, timeout_s: float) -> Delivery | None:
        """Take a message, if one comes, from a bus that may or may not keep to the time."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s + self.patience_s):
                delivery = await bus.get(queue, timeout_s=timeout_s)
        except TimeoutError:
            raise AssertionError(
                f"get waits at most timeout_s={timeout_s} s, not {time.monotonic() - began} s"
            ) from None
        return delivery

    async def take_all(self, bus: MessageBus, queue: str, expected: int) -> list[Any]:
        """Take and acknowledge messages, those that come twice too, until there is none.

        That there is none any more only time can tell: it is so when none came for longer than a lease lasts. While
        fewer than `expected` different ones have come, it is not: then one is waited for as long as a test waits.
        """
        taken: list[Any] = []
        quiet_since = time.monotonic()
        while True:
            delivery = await self.take_within(bus, queue, self.lease_of(bus) + self.calm_s)
            if delivery is not None:
                taken.append(delivery.message)
                await bus.ack(delivery)
                quiet_since = time.monotonic()
            elif len(
                {json.dumps(message) for message in taken}
            ) >= expected or time.monotonic() - quiet_since > self.patience_s + 3 * self.lease_of(bus):
                return taken

    async def undisturbed(self, trial: Callable[[str], Awaitable[float]], lease_s: float) -> None:
        """Try until the leases of a trial have not lapsed in the midst of it.

        `trial` gets the name of a queue, checks its rules as far as they hold whatever lapses, and returns for how many
        seconds it relied on a lease.
        """
        for number in range(_TRIALS):
            if await trial(f"contract-{uuid.uuid4()}-{number}") < lease_s:
                return
        pytest.skip(f"this machine is too slow for a lease of {lease_s} s; make buses with a longer one")


def in_trace(trace: str, number: int) -> dict[str, Any]:
    """Return a message that bears a number and belongs to a trace."""
    return {"trace_id": trace, "number": number}


def number_of(message: Any) -> int:
    """Return the number of a message."""
    number: int = message["number"]
    return number


async def fill(bus: MessageBus, queue: str, count: int, *, calm_s: float) -> list[asyncio.Task[None]]:
    """Put messages of one trace in order, each by a task of its own; returns the tasks once they are done or wait."""
    tasks: list[asyncio.Task[None]] = []
    for number in range(count):
        tasks.append(asyncio.create_task(bus.put(queue, in_trace(queue, number))))
        await asyncio.sleep(0)
    done = -1
    while (now := sum(task.done() for task in tasks)) not in (done, count):
        done = now
        await asyncio.wait(tasks, timeout=calm_s)
    return tasks
