"""A flow over two worker processes, and the program that runs one of them: what the fault tests kill and stop.

Every node leaves a line in a ledger before it returns: which node, for which key, in which process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from penguiflow import Context, Node, NodePolicy, PenguiFlow, create, join_k
from penguiflow_bus_redis import RedisMessageBus
from penguiflow_state.postgres import PostgresStateStore

BRANCHES = ("price", "stock", "route")
NODES = {"east": {"order", "price", "route"}, "west": {"stock", "join", "confirm"}}
BUS_LEASE_S = 1.0
LEASE_S = 2.0
MAX_DELIVERIES = 5
ALONE = "alone"
"""The version of the flow where one process runs all of it, so that it takes up no trace of other tests."""


class Ledger:
    """A file to which each effect is appended in one write, so that a kill tears no line."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, ctx: Context, what: str = "ran") -> None:
        """Write down that a node had its effect."""
        os.write(self._file, f"{what} {ctx.node_name} {ctx.idempotency_key} {os.getpid()}\n".encode())


def build(ledger: Ledger, *, pause_s: float = 0.0, version: str = "1") -> PenguiFlow:
    """Return the flow: an order fans out to three nodes, whose answers are joined and confirmed."""

    async def work(ctx: Context) -> None:
        ledger.note(ctx, "began")
        await asyncio.sleep(random.random() * pause_s)
        ledger.note(ctx)

    async def order(number: int, ctx: Context) -> int:
        await work(ctx)
        return number

    async def confirm(answers: list[str], ctx: Context) -> str:
        await work(ctx)
        return " ".join(sorted(answers))

    def branch(name: str) -> Node:
        async def answer(number: int, ctx: Context) -> str:
            await work(ctx)
            return f"{name}:{number}"

        return Node(answer, name=name, policy=NodePolicy(max_concurrency=64))

    first, last, join = Node(order), Node(confirm), join_k("join", len(BRANCHES))
    branches = [branch(name) for name in BRANCHES]
    return create(
        first.to(*branches), *(node.to(join) for node in branches), join.to(last), name="shop", version=version
    )


def answer_to(number: int) -> str:
    """Return what the trace of an order comes to."""
    return " ".join(sorted(f"{name}:{number}" for name in BRANCHES))


def open_bus(url: str) -> RedisMessageBus:
    """Return the bus as every process has it."""
    return RedisMessageBus(url, lease_s=BUS_LEASE_S, max_deliveries=MAX_DELIVERIES, partitions=4)


async def main(nodes: str, bus_url: str, dsn: str, ledger: Path, pause_s: float) -> None:
    """Run a worker until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(PostgresStateStore(dsn))
        bus = await stack.enter_async_context(open_bus(bus_url))
        flow = build(Ledger(ledger), pause_s=pause_s)
        flow.run(nodes=NODES[nodes], state_store=store, message_bus=bus, lease_s=LEASE_S)
        print("ready", flush=True)
        await stop.wait()
        await flow.stop(drain=True, timeout_s=20)


async def submit(number: int, dsn: str, ledger: Path, pause_s: float) -> None:
    """Submit an order, run all of it, and print what it comes to."""
    flow = build(Ledger(ledger), pause_s=pause_s, version=ALONE)
    async with PostgresStateStore(dsn) as store, flow.run(state_store=store, lease_s=LEASE_S, resume=False):
        print(await flow.ask(number), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for option in ("nodes", "bus", "state", "ledger", "pause", "submit"):
        parser.add_argument(f"--{option}")
    given = parser.parse_args()
    if given.submit is not None:
        sys.exit(asyncio.run(submit(int(given.submit), given.state, Path(given.ledger), float(given.pause))))
    sys.exit(asyncio.run(main(given.nodes, given.bus, given.state, Path(given.ledger), float(given.pause))))
