"""The bus in process: at-least-once delivery, in order, bounded."""

import asyncio

import pytest

from penguiflow import FlowDefinitionError
from penguiflow.bus import Delivery, InProcBus, MessageBus


async def take(bus: InProcBus, queue: str = "q") -> Delivery:
    delivery = await bus.get(queue, timeout_s=5)
    assert delivery is not None
    return delivery


def test_it_is_a_message_bus() -> None:
    assert isinstance(InProcBus(), MessageBus)


async def test_messages_come_in_the_order_in_which_they_were_put() -> None:
    bus = InProcBus()
    for number in range(20):
        await bus.put("q", number)

    assert [(await take(bus)).message for _ in range(20)] == list(range(20))


async def test_queues_are_apart() -> None:
    bus = InProcBus()
    await bus.put("a", 1)

    assert await bus.get("b", timeout_s=0) is None
    assert (await take(bus, "a")).queue == "a"


async def test_a_waiting_receiver_gets_what_is_put_later() -> None:
    bus = InProcBus()
    receiver = asyncio.create_task(bus.get("q"))
    await asyncio.sleep(0)

    await bus.put("q", "late")

    delivery = await receiver
    assert delivery is not None
    assert (delivery.message, delivery.attempt) == ("late", 0)


async def test_an_acknowledged_message_does_not_come_again() -> None:
    bus = InProcBus(lease_s=0.01)
    await bus.put("q", "once")
    delivery = await take(bus)

    await bus.ack(delivery)
    await bus.ack(delivery)

    assert await bus.get("q", timeout_s=0.05) is None


async def test_a_message_whose_lease_ends_is_handed_out_again_before_later_ones() -> None:
    bus = InProcBus(lease_s=0.01)
    await bus.put("q", "first")
    lost = await take(bus)
    again = await take(bus)
    await bus.ack(again)

    assert (again.message, again.attempt) == ("first", 1)
    assert again.token != lost.token


async def test_the_lease_that_ended_can_neither_acknowledge_nor_give_back() -> None:
    bus = InProcBus(lease_s=0.01)
    await bus.put("q", "first")
    lost = await take(bus)
    again = await take(bus)

    await bus.ack(lost)
    await bus.nack(lost)
    third = await take(bus)

    assert (again.attempt, third.attempt) == (1, 2)


async def test_a_message_given_back_keeps_its_place() -> None:
    bus = InProcBus()
    await bus.put("q", "first")
    await bus.put("q", "second")

    await bus.nack(await take(bus))

    first, second = await take(bus), await take(bus)
    assert [(first.message, first.attempt), (second.message, second.attempt)] == [("first", 1), ("second", 0)]


async def test_a_message_given_back_with_a_delay_lets_others_pass() -> None:
    bus = InProcBus()
    await bus.put("q", "first")
    await bus.put("q", "second")

    await bus.nack(await take(bus), delay_s=0.02)

    assert [(await take(bus)).message for _ in range(2)] == ["second", "first"]


async def test_a_full_queue_makes_its_producer_wait_for_an_acknowledgement() -> None:
    bus = InProcBus(maxsize=1)
    await bus.put("q", 1)
    producer = asyncio.create_task(bus.put("q", 2))
    held = await take(bus)
    await asyncio.sleep(0)
    assert not producer.done()

    await bus.ack(held)
    await producer

    assert (await take(bus)).message == 2


async def test_waiting_producers_are_let_in_in_order() -> None:
    bus = InProcBus(maxsize=1)
    await bus.put("q", 0)
    producers = [asyncio.create_task(bus.put("q", number)) for number in (1, 2, 3)]
    await asyncio.sleep(0)

    seen = []
    for _ in range(4):
        delivery = await take(bus)
        seen.append(delivery.message)
        await bus.ack(delivery)
    await asyncio.gather(*producers)

    assert seen == [0, 1, 2, 3]


async def test_a_cancelled_put_adds_nothing() -> None:
    bus = InProcBus(maxsize=1)
    await bus.put("q", "kept")
    producer = asyncio.create_task(bus.put("q", "dropped"))
    await asyncio.sleep(0)
    producer.cancel()
    await asyncio.wait([producer])

    await bus.ack(await take(bus))

    assert await bus.get("q", timeout_s=0) is None


async def test_a_put_cancelled_as_it_is_let_in_adds_nothing_and_frees_its_place() -> None:
    bus = InProcBus(maxsize=1)
    await bus.put("q", "kept")
    cancelled = asyncio.create_task(bus.put("q", "dropped"))
    patient = asyncio.create_task(bus.put("q", "next"))
    await asyncio.sleep(0)

    await bus.ack(await take(bus))
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await patient

    assert (await take(bus)).message == "next"


async def test_a_get_that_times_out_loses_nothing() -> None:
    bus = InProcBus()

    assert await bus.get("q", timeout_s=0.01) is None
    await bus.put("q", "there")

    assert (await take(bus)).attempt == 0


async def test_a_get_cancelled_as_it_is_served_loses_nothing() -> None:
    bus = InProcBus()
    receiver = asyncio.create_task(bus.get("q"))
    await asyncio.sleep(0)

    await bus.put("q", "there")
    receiver.cancel()
    await asyncio.wait([receiver])

    assert receiver.cancelled()
    assert (await take(bus)).attempt == 0


async def test_ten_receivers_and_ten_messages_all_meet() -> None:
    bus = InProcBus()
    receivers = [asyncio.create_task(take(bus)) for _ in range(10)]
    await asyncio.sleep(0)

    for number in range(10):
        await bus.put("q", number)

    assert [(await receiver).message for receiver in receivers] == list(range(10))


async def test_a_queue_that_is_done_with_takes_no_memory() -> None:
    bus = InProcBus()
    for number in range(100):
        await bus.put(f"reply-{number}", number)
        await bus.ack(await take(bus, f"reply-{number}"))
    assert await bus.get("nobody", timeout_s=0) is None
    await bus.nack(Delivery("nobody", None, "unknown"))

    assert not bus._queues


@pytest.mark.parametrize(("name", "options"), [("maxsize", {"maxsize": 0}), ("lease_s", {"lease_s": 0})])
def test_a_bound_that_is_not_positive_is_refused(name: str, options: dict[str, int]) -> None:
    with pytest.raises(FlowDefinitionError, match=name):
        InProcBus(**options)


async def test_a_negative_delay_is_refused() -> None:
    bus = InProcBus()
    await bus.put("q", 1)

    with pytest.raises(FlowDefinitionError, match="delay_s"):
        await bus.nack(await take(bus), delay_s=-1)
