"""What workers do with messages that come twice, that nobody can read, and when they are asked to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest


async def letters(bus: Any, queue: str) -> list[Any]:
    """Wait for dead letters, which come when a message was given back once too often."""
    for _ in range(600):
        if found := await bus.list_dead(queue):
            return list(found)
        await asyncio.sleep(0.05)
    pytest.fail("the poison message was delivered for 30 seconds")


@pytest.mark.timeout(120)
async def test_duplicates_change_nothing(shop: Any, scale: Callable[[int, int], int]) -> None:
    count = scale(100, 1000)
    shop.worker("east", pause_s=0)
    shop.worker("west", pause_s=0)
    async with shop.client() as (flow, store, bus):
        put = bus.put

        async def put_twice(queue: str, message: Any) -> None:
            await put(queue, message)
            await put(queue, message)

        bus.put = put_twice
        answers = await asyncio.gather(*(flow.ask(number) for number in range(count)))
        steps = await store.list_traces(limit=count)
    ran = shop.effects()
    print(f"\n{count} traces whose first message came twice, {sum(ran.values()) - len(ran)} effects happened again")
    assert answers == [shop.module.answer_to(number) for number in range(count)]
    assert {record.steps for record in steps} == {6}


@pytest.mark.timeout(120)
async def test_a_poison_message_ends_among_the_dead_letters_and_others_go_on(shop: Any) -> None:
    shop.worker("east", pause_s=0)
    shop.worker("west", pause_s=0)
    queue = "shop:order→price"
    async with shop.client() as (flow, _, bus):
        await bus.put(queue, {"trace_id": "poison", "format": 99})
        answers = await asyncio.gather(*(flow.ask(number) for number in range(50)))
        assert answers == [shop.module.answer_to(number) for number in range(50)]
        dead = await letters(bus, queue)

    assert [letter.message["trace_id"] for letter in dead] == ["poison"]
    assert dead[0].attempts == shop.module.MAX_DELIVERIES


@pytest.mark.timeout(120)
async def test_a_worker_that_is_asked_to_end_finishes_what_it_has(shop: Any) -> None:
    east, west = shop.worker("east", pause_s=0.2), shop.worker("west", pause_s=0.2)
    async with shop.client() as (flow, _, _):
        asking = [asyncio.ensure_future(flow.ask(number)) for number in range(20)]
        await asyncio.sleep(0.1)
        assert await asyncio.to_thread(east.drain) == 0
        await asyncio.to_thread(east.start)
        answers = await asyncio.gather(*asking)
    ran = shop.effects()
    assert answers == [shop.module.answer_to(number) for number in range(20)]
    assert sum(ran.values()) == len(ran)
    assert await asyncio.to_thread(west.drain) == 0


@pytest.mark.timeout(120)
async def test_a_trace_may_be_attached_to_after_its_submitter_has_gone(shop: Any) -> None:
    async with shop.client() as (flow, _, _):
        trace = await flow.submit(7)
        await flow.stop(drain=False)
    shop.worker("east")
    shop.worker("west")
    async with shop.client() as (flow, _, _), asyncio.timeout(30):
        attached = await flow.attach(trace.trace_id)
        assert await attached.result() == shop.module.answer_to(7)
