"""What is measured: 64 puts at a time, one consumer, 250 bytes a message, all in one process and one event loop."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from benchmarks.flow._rounds import Case, Stopwatch
from penguiflow_bus_redis import RedisMessageBus

__all__ = ["IN_FLIGHT", "MESSAGE", "bus_case", "floor_case", "put_all"]

IN_FLIGHT = 64
_BATCH = 100
_FLOOR_TIMES = 2.5
"""40 % of the floor's speed."""

MESSAGE: dict[str, Any] = {"trace_id": "0" * 16, "text": "x" * 209}
assert len(json.dumps(MESSAGE, separators=(",", ":"))) == 250

_runs = itertools.count()


async def put_all(count: int, put: Callable[[int], Awaitable[Any]]) -> None:
    """Put messages, 64 at a time."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await put(number)

    await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))


def floor_case(url: str, count: int) -> Case:
    """Return the floor: streams whose user gathers a hundred messages by hand for every command."""

    async def sample(count: int) -> float:
        writer, reader, stream = Redis.from_url(url), Redis.from_url(url), f"floor-{next(_runs)}"
        await reader.xgroup_create(stream, "g", "0", mkstream=True)
        payload = json.dumps(MESSAGE, separators=(",", ":")).encode()

        async def produce() -> None:
            for first in range(0, count, _BATCH):
                pipeline = writer.pipeline(transaction=False)
                for _ in range(min(_BATCH, count - first)):
                    pipeline.xadd(stream, {"m": payload})
                await pipeline.execute()

        async def consume() -> None:
            got = 0
            while got < count:
                reply: Any = await reader.xreadgroup("g", "c", {stream: ">"}, count=_BATCH, block=1000)
                entries = _entries(reply)
                if not entries:
                    continue
                ids = [entry_id for entry_id, _ in entries]
                pipeline = reader.pipeline(transaction=False)
                pipeline.xack(stream, "g", *ids)
                pipeline.xdel(stream, *ids)
                await pipeline.execute()
                got += len(ids)

        with Stopwatch() as watch:
            await asyncio.gather(produce(), consume())
        await reader.delete(stream)
        await writer.aclose()
        await reader.aclose()
        return watch.elapsed_s

    return _case("streams, a hundred a command, by hand", count, sample)


def bus_case(url: str, count: int, floor: Case) -> Case:
    """Return the bus: each message put, taken and acknowledged by a call of its own."""

    async def sample(count: int) -> float:
        queue = f"bench-{next(_runs)}"
        async with RedisMessageBus(url, prefix="bench") as bus:
            await bus.put("warm", 1)
            assert await bus.get("warm", timeout_s=5) is not None

            async def consume() -> None:
                for _ in range(count):
                    delivery = await bus.get(queue)
                    assert delivery is not None
                    await bus.ack(delivery)

            with Stopwatch() as watch:
                await asyncio.gather(
                    put_all(count, lambda number: bus.put(queue, {**MESSAGE, "trace_id": f"{number:016}"})), consume()
                )
        return watch.elapsed_s

    case = _case("RedisMessageBus", count, sample)
    case.floors = (floor,)
    case.at_most = _FLOOR_TIMES
    return case


def _case(contender: str, count: int, sample: Callable[[int], Any]) -> Case:
    task = "put, taken, acknowledged, deleted"
    return Case(part="bus", task=task, payloads="250 bytes", contender=contender, count=count, sample=sample)


def _entries(reply: Any) -> list[Any]:
    """Return the entries of one stream, whichever protocol the reply came by."""
    if not reply:
        return []
    found: list[Any] = reply[0][1] if isinstance(reply, list) else next(iter(reply.values()))[0]
    return found
