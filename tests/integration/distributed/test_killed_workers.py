"""Workers that are killed at random moments: every trace ends, and no step is recorded twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

IN_FLIGHT = 24


async def load(flow: Any, answers: dict[str, Any], until: asyncio.Event) -> None:
    """Keep traces going until told to stop, and see every one of them through."""
    numbers = iter(range(10**9))

    async def one_after_the_other() -> None:
        while not until.is_set():
            number = next(numbers)
            trace = await flow.submit(number)
            answers[trace.trace_id] = (number, await trace.result())

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(one_after_the_other())


async def kill_at_random(shop: Any, kills: int) -> None:
    """Kill one of the two workers at a time, and start it again."""
    workers = [shop.worker("east"), shop.worker("west")]
    for _ in range(kills):
        await asyncio.sleep(random.random())
        worker = random.choice(workers)
        worker.kill()
        await asyncio.to_thread(worker.start)


@pytest.mark.timeout(1800)
async def test_every_trace_ends_when_workers_are_killed(shop: Any, scale: Callable[[int, int], int]) -> None:
    kills = scale(6, 120)
    answers: dict[str, Any] = {}
    done = asyncio.Event()
    async with shop.client() as (flow, store, _):
        loading = asyncio.ensure_future(load(flow, answers, done))
        await kill_at_random(shop, kills)
        done.set()
        async with asyncio.timeout(120):
            await loading
        steps = {trace_id: await store.load_steps(trace_id) for trace_id in answers}
        states = await store.load_states(list(answers))
    again = sum(count - 1 for count in shop.effects().values())
    print(f"\n{kills} kills, {len(answers)} traces, {again} effects that happened again")

    assert len(answers) > kills
    assert all(answer == shop.module.answer_to(number) for number, answer in answers.values())
    assert {state for _, state in states.values()} == {"completed"}
    assert all(sorted(step.node_name for step in each) == NAMES for each in steps.values())
    assert all(len({step.message_id for step in each}) == len(NAMES) for each in steps.values())


NAMES = ["confirm", "join", "order", "price", "route", "stock"]
