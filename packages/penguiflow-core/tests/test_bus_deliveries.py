"""Whatever receivers do with their deliveries, the bus loses no message and keeps the order."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow.bus import Delivery, InProcBus

DEEDS = st.lists(st.sampled_from(["ack", "nack", "drop", "cancel"]), max_size=12)


async def deliver(count: int, maxsize: int, deeds: list[str], lease_s: float) -> list[int]:
    """Put `count` messages, treat deliveries as `deeds` say and then well; return what was acknowledged."""
    bus = InProcBus(maxsize=maxsize, lease_s=lease_s, max_deliveries=None)
    producer = asyncio.create_task(_produce(bus, count))
    acknowledged: list[int] = []
    remaining = iter(deeds)
    while not producer.done() or bus._queues:
        deed = next(remaining, "ack")
        delivery = await (_take_and_cancel(bus) if deed == "cancel" else bus.get("q", timeout_s=0.05))
        if delivery is None:
            continue
        if deed == "ack":
            acknowledged.append(delivery.message)
            await bus.ack(delivery)
        elif deed != "drop":
            await bus.nack(delivery)
    await producer
    return acknowledged


async def _produce(bus: InProcBus, count: int) -> None:
    for number in range(count):
        await bus.put("q", number)


async def _take_and_cancel(bus: InProcBus) -> Delivery | None:
    getter = asyncio.create_task(bus.get("q"))
    await asyncio.sleep(0)
    getter.cancel()
    await asyncio.wait([getter])
    return None if getter.cancelled() else getter.result()


@pytest.mark.timeout(300)
@given(st.integers(0, 12), st.integers(1, 4), DEEDS)
def test_every_message_is_acknowledged_whatever_happens_on_the_way(count: int, maxsize: int, deeds: list[str]) -> None:
    acknowledged = asyncio.run(asyncio.wait_for(deliver(count, maxsize, deeds, lease_s=0.01), timeout=20))

    assert set(acknowledged) == set(range(count))


@pytest.mark.timeout(300)
@given(st.integers(0, 12), st.integers(1, 4), st.lists(st.sampled_from(["ack", "nack", "cancel"]), max_size=20))
def test_messages_that_are_given_back_at_once_stay_in_order(count: int, maxsize: int, deeds: list[str]) -> None:
    acknowledged = asyncio.run(asyncio.wait_for(deliver(count, maxsize, deeds, lease_s=30), timeout=20))

    assert acknowledged == list(range(count))
