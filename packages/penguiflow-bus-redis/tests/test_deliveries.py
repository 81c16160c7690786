"""One bus, one queue: at-least-once delivery, in order, bounded; on every server there is."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from servers import RedisServer

from penguiflow.bus import (
    BatchedPuts,
    DeadLetters,
    Delivery,
    ExpiringQueues,
    ExtendableLeases,
    MessageBus,
)
from penguiflow_bus_redis import RedisMessageBus

Take = Callable[..., Awaitable[Delivery]]

_numbers = itertools.count()


@pytest.fixture
async def bus(any_server: RedisServer, prefix: str) -> AsyncIterator[RedisMessageBus]:
    async with RedisMessageBus(any_server.url, prefix=prefix, lease_s=1.0, max_len=20) as bus:
        yield bus


def of_trace(trace_id: str, priority: int = 0) -> dict[str, Any]:
    return {"trace_id": trace_id, "priority": priority, "number": next(_numbers)}


async def test_it_does_all_that_a_bus_may_do(bus: RedisMessageBus) -> None:
    protocols = (MessageBus, BatchedPuts, ExtendableLeases, ExpiringQueues, DeadLetters)

    assert all(isinstance(bus, protocol) for protocol in protocols)
    assert bus.lease_s == 1.0


async def test_messages_come_in_the_order_in_which_they_were_put(bus: RedisMessageBus, take: Take) -> None:
    for number in range(15):
        await bus.put("q", number)

    assert [(await take(bus)).message for _ in range(15)] == list(range(15))


async def test_what_is_put_at_the_same_time_keeps_the_order_of_the_calls(bus: RedisMessageBus, take: Take) -> None:
    await asyncio.gather(*(bus.put("q", number) for number in range(15)))

    assert [(await take(bus)).message for _ in range(15)] == list(range(15))


async def test_messages_of_one_millisecond_go_before_those_of_the_next(bus: RedisMessageBus, take: Take) -> None:
    # Redis names what one batch adds `T-0` to `T-10`, and what comes later `U-0` and on: shorter names, later messages.
    await bus.put_many("q", [of_trace("t") for _ in range(11)])
    await asyncio.sleep(0.005)
    await bus.put_many("q", [of_trace("t") for _ in range(5)])

    numbers = [(await take(bus)).message["number"] for _ in range(16)]
    assert numbers == sorted(numbers)


async def test_whatever_json_can_hold_comes_as_it_was_put(bus: RedisMessageBus, take: Take) -> None:
    messages: list[Any] = [
        None,
        1.5,
        "dürüm \U0001f600 \x00",
        [],
        {"trace_id": 7, "priority": "x"},
        {"a": {"b": [True]}},
    ]
    await bus.put_many("q", messages)

    assert [(await take(bus)).message for _ in messages] == messages


async def test_a_waiting_receiver_gets_what_is_put_later(bus: RedisMessageBus) -> None:
    receiver = asyncio.create_task(bus.get("q", timeout_s=10))
    assert await bus.get("other", timeout_s=0.05) is None
    await bus.put("q", "late")

    delivery = await receiver
    assert delivery is not None
    assert (delivery.message, delivery.attempt, delivery.queue) == ("late", 0, "q")


async def test_a_time_out_of_zero_takes_what_is_there(bus: RedisMessageBus) -> None:
    assert await bus.get("q", timeout_s=0) is None
    await bus.put("q", "there")

    assert (await bus.get("q", timeout_s=0)) is not None


async def test_an_acknowledged_message_is_gone_for_good(bus: RedisMessageBus, take: Take) -> None:
    await bus.put("q", "once")
    delivery = await take(bus)
    await bus.ack(delivery)
    await bus.ack(delivery)
    await bus.nack(delivery)

    assert not await bus.extend(delivery)
    assert await bus.get("q", timeout_s=1.3) is None


async def test_a_lease_that_ends_hands_the_message_out_again(bus: RedisMessageBus, take: Take) -> None:
    await bus.put("q", "first")
    lost = await take(bus)
    again = await take(bus)
    await bus.ack(lost)
    await bus.nack(lost)

    assert not await bus.extend(lost)
    assert await bus.extend(again)
    assert (again.message, again.attempt) == ("first", 1)
    assert again.token != lost.token


async def test_a_lease_that_is_extended_does_not_end(bus: RedisMessageBus, take: Take) -> None:
    await bus.put("q", "long")
    delivery = await take(bus)
    for _ in range(4):
        assert await bus.get("q", timeout_s=0.4) is None
        assert await bus.extend(delivery)


async def test_a_message_given_back_comes_again_before_later_ones(bus: RedisMessageBus, take: Take) -> None:
    await bus.put_many("q", [of_trace("t"), of_trace("t")])
    first = await take(bus)
    await bus.nack(first)

    again, second = await take(bus), await take(bus)
    assert (again.message, again.attempt) == (first.message, 1)
    assert second.attempt == 0


async def test_a_delay_holds_back_its_own_trace_only(bus: RedisMessageBus, take: Take) -> None:
    slow, other, later = of_trace("slow"), of_trace("other"), of_trace("slow")
    await bus.put_many("q", [slow, later])
    await bus.nack(await take(bus), delay_s=0.5)
    newest = of_trace("slow")
    await bus.put_many("q", [newest, other])

    assert (await take(bus)).message == other
    assert [(await take(bus)).message for _ in range(3)] == [slow, later, newest]


async def test_a_delay_of_a_message_without_a_trace_lets_others_pass(bus: RedisMessageBus, take: Take) -> None:
    await bus.put_many("q", ["first", "second"])
    await bus.nack(await take(bus), delay_s=0.2)

    assert [(await take(bus)).message for _ in range(2)] == ["second", "first"]


async def test_a_higher_priority_goes_first(bus: RedisMessageBus, take: Take) -> None:
    messages = [of_trace("low", -1), of_trace("mid"), of_trace("high", 5), of_trace("high", 5), of_trace("mid")]
    await bus.put_many("q", messages)

    taken = [(await take(bus)).message for _ in messages]
    assert taken == [messages[2], messages[3], messages[1], messages[4], messages[0]]


async def test_a_full_queue_makes_its_producers_wait(bus: RedisMessageBus, take: Take) -> None:
    await bus.put_many("q", list(range(20)))
    producers = [asyncio.create_task(bus.put("q", number)) for number in (20, 21, 22)]
    seen = [await take(bus)]
    _, pending = await asyncio.wait(producers, timeout=0.2)
    assert len(pending) == 3

    for _ in range(22):
        await bus.ack(seen[-1])
        seen.append(await take(bus))
    await asyncio.gather(*producers)

    assert [delivery.message for delivery in seen] == list(range(23))


async def test_a_put_cancelled_while_it_waits_adds_nothing(bus: RedisMessageBus, take: Take) -> None:
    await bus.put_many("q", list(range(20)))
    producer = asyncio.create_task(bus.put("q", "dropped"))
    await asyncio.wait([producer], timeout=0.1)
    producer.cancel()
    await asyncio.wait([producer])

    for _ in range(20):
        await bus.ack(await take(bus))
    assert await bus.get("q", timeout_s=0.2) is None


async def test_a_get_given_up_at_any_moment_loses_nothing(bus: RedisMessageBus, take: Take) -> None:
    for number in range(20):
        receiver = asyncio.create_task(bus.get("q"))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        await bus.put("q", number)
        receiver.cancel()
        await asyncio.wait([receiver])
        delivery = await take(bus) if receiver.cancelled() else receiver.result()
        assert delivery is not None
        assert (delivery.message, delivery.attempt) == (number, 0)
        await bus.ack(delivery)


async def test_messages_that_are_no_json_are_put_aside(
    bus: RedisMessageBus, any_server: RedisServer, prefix: str, take: Take
) -> None:
    await bus.put("q", "fine")
    any_server.command(f"XADD {{{prefix}:q}}:s:0:1 * m notjson")

    assert (await take(bus)).message == "fine"
    assert await bus.get("q", timeout_s=0.3) is None
    (letter,) = await bus.list_dead("q")
    assert (letter.message, "not JSON" in letter.reason) == ("notjson", True)


async def test_an_entry_that_someone_deleted_by_hand_is_passed_over(
    bus: RedisMessageBus, any_server: RedisServer, prefix: str, take: Take
) -> None:
    await bus.put("q", "deleted")
    delivery = await take(bus)
    entry_id = delivery.token.split("/")[-2]
    await bus.nack(delivery, delay_s=0.1)
    any_server.command(f"XDEL {{{prefix}:q}}:s:0:1 {entry_id}")

    await bus.put("q", "fine")
    assert (await take(bus)).message == "fine"
    assert await bus.get("q", timeout_s=0.3) is None
