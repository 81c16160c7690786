"""Processes that are stopped past their lease and woken when another has their work: they write nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest


async def until(condition: Callable[[], Any], what: str, patience_s: float = 30.0) -> Any:
    """Wait for something that other processes do."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        await asyncio.sleep(0.01)
    return found


def pids(shop: Any, what: str) -> list[int]:
    """Return the processes that confirmed an order, or began to."""
    lines = (line.split() for line in shop.ledger_path.read_text().splitlines())
    return [int(pid) for kind, node, _, pid in lines if kind == what and node == "confirm"]


async def outlive(shop: Any, flow: Any, store: Any, workers: dict[int, Any], number: int) -> None:
    """Stop the worker that confirms an order in the middle, and wake it when the other has confirmed it."""
    began, ran = len(pids(shop, "began")), len(pids(shop, "ran"))
    trace = await flow.submit(number)
    zombie = (await until(lambda: pids(shop, "began")[began:], "the order"))[0]
    workers[zombie].send(signal.SIGSTOP)
    if len(pids(shop, "ran")) > ran:
        # It was done before the signal came.
        workers[zombie].send(signal.SIGCONT)
        assert await trace.result() == shop.module.answer_to(number)
        return
    try:
        assert await trace.result() == shop.module.answer_to(number)
        steps = await store.load_steps(trace.trace_id)
    finally:
        workers[zombie].send(signal.SIGCONT)
    # The zombie goes on where it was stopped: it has its effect and tries to write, or sees first that it was replaced.
    with contextlib.suppress(AssertionError):
        await until(lambda: zombie in pids(shop, "ran")[ran:], "the effect of the zombie", patience_s=2.0)
        shop.had_effect += 1
    await asyncio.sleep(0.1)
    assert await store.load_steps(trace.trace_id) == steps
    shop.outlived += 1


@pytest.mark.timeout(1800)
async def test_a_worker_that_wakes_too_late_writes_nothing(shop: Any, scale: Callable[[int, int], int]) -> None:
    wanted, shop.outlived, shop.had_effect = scale(3, 50), 0, 0
    shop.worker("east")
    both = [shop.worker("west", pause_s=0.5) for _ in range(2)]
    async with shop.client() as (flow, store, _):
        number = 0
        async with asyncio.timeout(wanted * 20 + 20):
            while shop.outlived < wanted:
                number += 1
                await outlive(shop, flow, store, {worker.pid: worker for worker in both}, number)
    print(
        f"\n{shop.outlived} workers stopped past their lease and woken, {shop.had_effect} of them had their effect and"
        " tried to write it down: none of their writes was accepted"
    )
    assert shop.had_effect


@contextlib.asynccontextmanager
async def submitter(shop: Any, number: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Give a process that has submitted an order, and has begun to run it."""
    where = ["--state", shop.postgres.dsn, "--ledger", str(shop.ledger_path), "--pause", "1"]
    program = str(Path(__file__).with_name("shop.py"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, "--submit", str(number), *where, stdout=asyncio.subprocess.PIPE
    )
    try:
        await until(lambda: began(shop, process.pid), "the order")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def began(shop: Any, pid: int) -> bool:
    """Say whether a process has begun to work on the order."""
    return any(line.split()[3] == str(pid) for line in shop.ledger_path.read_text().splitlines())


@pytest.mark.timeout(120)
async def test_a_submitter_that_wakes_too_late_is_told_what_its_trace_came_to(shop: Any) -> None:
    from penguiflow_state.postgres import PostgresStateStore

    flow = shop.module.build(shop.module.Ledger(shop.ledger_path), pause_s=2.0, version=shop.module.ALONE)
    async with asyncio.timeout(90), PostgresStateStore(shop.postgres.dsn) as store, submitter(shop, 7) as zombie:
        zombie.send_signal(signal.SIGSTOP)
        trace_id = (await store.list_traces(flow="shop", state="running"))[0].start.trace_id
        async with flow.run(state_store=store, lease_s=shop.module.LEASE_S):
            await until(lambda: began(shop, os.getpid()), "the takeover")
            zombie.send_signal(signal.SIGCONT)
            printed, _ = await zombie.communicate()
            await (await flow.attach(trace_id)).result()
        steps = await store.load_steps(trace_id)

    assert printed.decode().strip() == shop.module.answer_to(7)
    assert len({step.message_id for step in steps}) == len(steps) == 6
