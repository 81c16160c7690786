"""The bus in process beyond its protocol: longer leases, dead letters, priorities, queues that are forgotten."""

import asyncio
import itertools
from typing import Any

import pytest

from penguiflow import FlowDefinitionError
from penguiflow.bus import BatchedPuts, DeadLetters, Delivery, ExpiringQueues, ExtendableLeases, InProcBus

_numbers = itertools.count()


def of_trace(trace_id: str, priority: int = 0) -> dict[str, Any]:
    return {"trace_id": trace_id, "priority": priority, "number": next(_numbers)}


async def take(bus: InProcBus, queue: str = "q") -> Delivery:
    delivery = await bus.get(queue, timeout_s=5)
    assert delivery is not None
    return delivery


def test_it_does_all_that_a_bus_may_do() -> None:
    bus = InProcBus()

    assert isinstance(bus, BatchedPuts)
    assert isinstance(bus, ExtendableLeases)
    assert isinstance(bus, ExpiringQueues)
    assert isinstance(bus, DeadLetters)


@pytest.mark.parametrize("bound", ["maxsize", "max_deliveries", "max_dead", "lease_s"])
def test_a_bound_that_is_not_positive_is_refused_by_name(bound: str) -> None:
    with pytest.raises(FlowDefinitionError, match=bound):
        InProcBus(**{bound: 0})


async def test_messages_put_together_keep_their_order_and_wait_for_room() -> None:
    bus = InProcBus(maxsize=2)
    producer = asyncio.create_task(bus.put_many("q", [1, 2, 3]))
    seen = []
    for _ in range(3):
        delivery = await take(bus)
        seen.append(delivery.message)
        await bus.ack(delivery)
    await producer

    assert seen == [1, 2, 3]


async def test_a_lease_that_is_extended_does_not_end() -> None:
    bus = InProcBus(lease_s=0.2)
    await bus.put("q", "long")
    delivery = await take(bus)
    for _ in range(4):
        assert await bus.get("q", timeout_s=0.1) is None
        assert await bus.extend(delivery)

    await bus.ack(delivery)
    assert not await bus.extend(delivery)


async def test_a_lease_that_has_ended_cannot_be_extended() -> None:
    bus = InProcBus(lease_s=0.01)
    await bus.put("q", "long")
    lost = await take(bus)
    again = await take(bus)

    assert not await bus.extend(lost)
    assert (bus.lease_s, again.attempt) == (0.01, 1)


async def test_a_message_that_keeps_coming_back_becomes_a_dead_letter_and_frees_its_place() -> None:
    bus = InProcBus(maxsize=1, max_deliveries=3)
    await bus.put("q", "poison")
    for _ in range(3):
        await bus.nack(await take(bus))
    await asyncio.wait_for(bus.put("q", "fine"), timeout=5)

    (letter,) = await bus.list_dead()
    assert (letter.queue, letter.message, letter.attempts) == ("q", "poison", 3)
    assert "given back" in letter.reason
    assert (await take(bus)).message == "fine"


async def test_a_message_whose_lease_keeps_ending_becomes_a_dead_letter() -> None:
    bus = InProcBus(lease_s=0.01, max_deliveries=2)
    await bus.put("q", "slow")
    await take(bus)
    await take(bus)
    assert await bus.get("q", timeout_s=0.1) is None

    (letter,) = await bus.list_dead("q")
    assert "lease ended" in letter.reason
    assert await bus.list_dead("other") == []


async def test_a_dead_letter_is_replayed_as_if_new() -> None:
    bus = InProcBus(max_deliveries=1)
    for message in ("a", "b"):
        await bus.put("q", message)
        await bus.nack(await take(bus))
    first, _ = await bus.list_dead()

    assert await bus.replay_dead("q", [first.letter_id]) == 1
    again = await take(bus)
    assert (again.message, again.attempt) == ("a", 0)
    assert await bus.replay_dead("q") == 1
    assert await bus.list_dead() == []


async def test_only_the_last_dead_letters_are_kept() -> None:
    bus = InProcBus(max_deliveries=1, max_dead=2)
    for number in range(5):
        await bus.put("q", number)
        await bus.nack(await take(bus))

    assert [letter.message for letter in await bus.list_dead()] == [3, 4]
    assert len(await bus.list_dead(limit=1)) == 1


async def test_a_replay_cancelled_while_the_queue_is_full_keeps_the_letter() -> None:
    bus = InProcBus(maxsize=1, max_deliveries=1)
    await bus.put("q", "poison")
    await bus.nack(await take(bus))
    await bus.put("q", "in the way")
    replay = asyncio.create_task(bus.replay_dead("q"))
    await asyncio.sleep(0)
    replay.cancel()
    await asyncio.wait([replay])

    assert [letter.message for letter in await bus.list_dead()] == ["poison"]


async def test_a_higher_priority_goes_first_and_order_within_one_stays() -> None:
    bus = InProcBus()
    messages = [of_trace("low", -1), of_trace("mid"), of_trace("high", 5), of_trace("high", 5), of_trace("mid")]
    await bus.put_many("q", messages)

    taken = [(await take(bus)).message for _ in messages]
    assert taken == [messages[2], messages[3], messages[1], messages[4], messages[0]]


async def test_a_delay_holds_back_its_own_trace_only() -> None:
    bus = InProcBus()
    slow, other, later = of_trace("slow"), of_trace("other"), of_trace("slow")
    await bus.put_many("q", [slow, other, later])
    await bus.nack(await take(bus), delay_s=0.05)
    newest = of_trace("slow")
    await bus.put("q", newest)

    assert [(await take(bus)).message for _ in range(4)] == [other, slow, later, newest]


async def test_a_queue_that_nobody_renews_is_forgotten() -> None:
    bus = InProcBus(maxsize=2)
    await bus.expire("q", 0.05)
    await bus.put_many("q", ["a", "b"])
    held = await take(bus)
    waiting = asyncio.create_task(bus.put("q", "c"))
    await asyncio.wait_for(waiting, timeout=5)

    assert (await take(bus)).message == "c"
    assert not await bus.extend(held)


async def test_a_queue_that_is_renewed_in_time_is_kept() -> None:
    bus = InProcBus()
    await bus.put("q", "kept")
    await bus.expire("q", 0.01)
    await bus.expire("q", 30)

    assert await bus.get("other", timeout_s=0.05) is None
    assert (await take(bus)).message == "kept"
    await bus.expire("q", 0.001)
    assert await bus.get("other", timeout_s=0.05) is None


async def test_a_forgotten_queue_takes_no_memory() -> None:
    bus = InProcBus()
    for number in range(10):
        await bus.put(f"reply-{number}", of_trace("t"))
        await bus.nack(await take(bus, f"reply-{number}"), delay_s=60)
        await bus.expire(f"reply-{number}", 0.01)
    assert await bus.get("other", timeout_s=0.1) is None

    assert not bus._queues
    assert not bus._expiries


async def test_a_time_to_live_that_is_not_positive_is_refused() -> None:
    with pytest.raises(FlowDefinitionError, match="ttl_s"):
        await InProcBus().expire("q", 0)
