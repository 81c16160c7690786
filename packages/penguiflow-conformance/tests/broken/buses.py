"""Buses that each break one rule: every test class here has a test that has to fail."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from penguiflow.bus import Delivery, InProcBus, MessageBus
from penguiflow_conformance import MessageBusContract
from penguiflow_conformance._adapters import Make


class Broken(MessageBusContract):
    """Makes the bus that the class names."""

    patience_s = 0.3
    lease_s = 0.1
    calm_s = 0.05
    bus_type: type[InProcBus] = InProcBus
    options: dict[str, Any] = {}  # noqa: RUF012

    @pytest.fixture
    def make_bus(self) -> Make[MessageBus]:
        options = {"maxsize": self.capacity, "lease_s": self.lease_s, "max_deliveries": self.max_deliveries}
        bus = self.bus_type(**(options | self.options))
        return lambda: bus


class LosesOrder(InProcBus):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.held: list[Any] = []

    async def put(self, queue: str, message: Any) -> None:
        self.held.insert(0, message)
        if len(self.held) == 2:
            while self.held:
                await super().put(queue, self.held.pop(0))


class TestLosesOrder(Broken):
    bus_type = LosesOrder


class ChangesMessages(InProcBus):
    async def put(self, queue: str, message: Any) -> None:
        await super().put(queue, str(message) if isinstance(message, float) else message)


class TestChangesMessages(Broken):
    bus_type = ChangesMessages


class DropsWhenCancelled(InProcBus):
    async def get(self, queue: str, timeout_s: float | None = None) -> Delivery | None:
        delivery = await super().get(queue, timeout_s)
        if delivery is not None:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                await self.ack(delivery)
                raise
        return delivery


class TestDropsWhenCancelled(Broken):
    bus_type = DropsWhenCancelled


class PutsInSpiteOfCancelling(InProcBus):
    async def put(self, queue: str, message: Any) -> None:
        await asyncio.shield(super().put(queue, message))


class TestPutsInSpiteOfCancelling(Broken):
    bus_type = PutsInSpiteOfCancelling


class TestBlocksNever(Broken):
    options = {"maxsize": 10_000}  # noqa: RUF012


class TestHoldsTooFew(Broken):
    options = {"maxsize": 2}  # noqa: RUF012


class ForgetsLeases(InProcBus):
    def __init__(self, *, lease_s: float, **options: Any) -> None:
        super().__init__(lease_s=1000.0, **options)
        self.told_s = lease_s

    @property
    def lease_s(self) -> float:
        return self.told_s


class TestForgetsLeases(Broken):
    bus_type = ForgetsLeases


class LeasesTooShort(InProcBus):
    def __init__(self, *, lease_s: float, **options: Any) -> None:
        super().__init__(lease_s=lease_s / 10, **options)
        self.told_s = lease_s

    @property
    def lease_s(self) -> float:
        return self.told_s


class TestLeasesTooShort(Broken):
    bus_type = LeasesTooShort


class TrustsZombies(InProcBus):
    """Acknowledges and gives back by queue: whoever asks, it is the present holder's message that goes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.latest: dict[str, Delivery] = {}

    async def get(self, queue: str, timeout_s: float | None = None) -> Delivery | None:
        delivery = await super().get(queue, timeout_s)
        if delivery is not None:
            self.latest[queue] = delivery
        return delivery

    async def ack(self, delivery: Delivery) -> None:
        await super().ack(self.latest[delivery.queue])

    async def nack(self, delivery: Delivery, delay_s: float = 0.0) -> None:
        await super().nack(self.latest[delivery.queue], delay_s)


class TestTrustsZombies(Broken):
    bus_type = TrustsZombies


class ForgetsAttempts(InProcBus):
    async def get(self, queue: str, timeout_s: float | None = None) -> Delivery | None:
        delivery = await super().get(queue, timeout_s)
        return delivery and replace(delivery, attempt=0)


class TestForgetsAttempts(Broken):
    bus_type = ForgetsAttempts


class ForgetsDelays(InProcBus):
    async def nack(self, delivery: Delivery, delay_s: float = 0.0) -> None:
        await super().nack(delivery)


class TestForgetsDelays(Broken):
    bus_type = ForgetsDelays


class AcknowledgesWhatIsGivenBack(InProcBus):
    async def nack(self, delivery: Delivery, delay_s: float = 0.0) -> None:
        await super().ack(delivery)


class TestAcknowledgesWhatIsGivenBack(Broken):
    bus_type = AcknowledgesWhatIsGivenBack


class WaitsForEver(InProcBus):
    async def get(self, queue: str, timeout_s: float | None = None) -> Delivery | None:
        return await super().get(queue, None)


class TestWaitsForEver(Broken):
    bus_type = WaitsForEver


class ExtendsNothing(InProcBus):
    async def extend(self, delivery: Delivery) -> bool:
        return True


class TestExtendsNothing(Broken):
    bus_type = ExtendsNothing


class TestBuriesNothing(Broken):
    options = {"max_deliveries": None}  # noqa: RUF012


class ReplaysAndKeeps(InProcBus):
    async def replay_dead(self, queue: str, letter_ids: Sequence[str] | None = None) -> int:
        for letter in await self.list_dead(queue):
            await self.put(queue, letter.message)
        return len(await self.list_dead(queue))


class TestReplaysAndKeeps(Broken):
    bus_type = ReplaysAndKeeps


class TurnsBatchesRound(InProcBus):
    async def put_many(self, queue: str, messages: Sequence[Any]) -> None:
        await super().put_many(queue, messages[::-1])


class TestTurnsBatchesRound(Broken):
    bus_type = TurnsBatchesRound


class ForgetsEveryQueue(InProcBus):
    async def expire(self, queue: str, ttl_s: float) -> None:
        for name in list(self._queues):
            await super().expire(name, ttl_s)
        await super().expire(queue, ttl_s)


class TestForgetsEveryQueue(Broken):
    bus_type = ForgetsEveryQueue
