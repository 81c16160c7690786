"""A Redis and a Postgres that stop and come back under a flow: every trace ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest


async def ask_many(shop: Any, flow: Any, count: int, *, done: list[int]) -> None:
    async def ask(number: int) -> None:
        assert await flow.ask(number) == shop.module.answer_to(number)
        done.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(ask(number))


async def come_and_go(shop: Any, server: Any, times: int, traces: int) -> None:
    """Stop a server and start it again while traces are at work, then see all of them end."""
    shop.worker("east")
    shop.worker("west")
    done: list[int] = []
    async with shop.client() as (flow, _, _):
        for _ in range(times):
            asking = asyncio.ensure_future(ask_many(shop, flow, traces, done=done))
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(60):
                await asking
    print(f"\n{times} stops and starts, {len(done)} traces ended")
    assert len(done) == times * traces


@pytest.mark.timeout(900)
async def test_every_trace_ends_when_redis_comes_back(shop: Any, scale: Callable[[int, int], int]) -> None:
    await come_and_go(shop, shop.redis, scale(1, 10), 60)


@pytest.mark.timeout(900)
async def test_every_trace_ends_when_postgres_comes_back(shop: Any, scale: Callable[[int, int], int]) -> None:
    await come_and_go(shop, shop.postgres, scale(1, 10), 60)


@pytest.mark.timeout(300)
async def test_a_resume_outlasts_a_restart_of_postgres(shop: Any) -> None:
    from penguiflow_state.postgres import PostgresStateStore

    ledger = shop.module.Ledger(shop.ledger_path)
    async with PostgresStateStore(shop.postgres.dsn) as store:
        async with shop.module.build(ledger, pause_s=5.0).run(state_store=store, lease_s=2.0) as first:
            traces = [await first.submit(number) for number in range(20)]
            await first.stop(drain=False)
        restarting = asyncio.create_task(asyncio.to_thread(shop.postgres.restart))
        async with shop.module.build(ledger).run(state_store=store, lease_s=2.0) as second, asyncio.timeout(60):
            for number, trace in enumerate(traces):
                resumed = await second.resume(trace.trace_id)
                assert await resumed.result() == shop.module.answer_to(number)
        await restarting
