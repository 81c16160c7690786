"""Others that carry messages over Redis Streams, where they are installed."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from benchmarks.bus._cases import MESSAGE, put_all
from benchmarks.flow._rounds import Case, Stopwatch

__all__ = ["peer_cases"]

_runs = itertools.count()


def peer_cases(url: str, count: int, ours: Case) -> tuple[list[Case], dict[str, str]]:
    """Return those that are installed, compared with ours, and their versions."""
    cases, versions = [], {}
    for distribution, module, sample in (
        ("taskiq-redis", "taskiq_redis", _taskiq(url)),
        ("faststream", "faststream", _faststream(url)),
    ):
        if importlib.util.find_spec(module) is not None:
            versions[distribution] = version(distribution)
            task = "put, taken, acknowledged"
            cases.append(
                Case(part="bus", task=task, payloads="250 bytes", contender=distribution, count=count, sample=sample)
            )
            cases[-1].floors = (ours,)
    return cases, versions


class _Counter:
    """Tells when so many messages have come."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.done = asyncio.Event()

    def came(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.done.set()


def _taskiq(url: str) -> Callable[[int], Any]:
    async def sample(count: int) -> float:
        from taskiq.receiver import Receiver
        from taskiq_redis import RedisStreamBroker

        name = f"taskiq-{next(_runs)}"
        broker = RedisStreamBroker(url, queue_name=name, consumer_group_name=name, consumer_id="0", xread_block=100)
        counter = _Counter(count)

        @broker.task(task_name=name)
        async def handle(message: dict[str, Any]) -> None:
            counter.came()

        broker.is_worker_process = True
        await broker.startup()
        finish = asyncio.Event()
        receiver = asyncio.create_task(Receiver(broker, max_async_tasks=100, run_startup=False).listen(finish))
        with Stopwatch() as watch:
            await put_all(count, lambda number: handle.kiq({**MESSAGE, "trace_id": f"{number:016}"}))
            await counter.done.wait()
        finish.set()
        await asyncio.wait([receiver], timeout=5)
        receiver.cancel()
        await broker.shutdown()
        return watch.elapsed_s

    return sample


def _faststream(url: str) -> Callable[[int], Any]:
    async def sample(count: int) -> float:
        from faststream.redis import RedisBroker, StreamSub

        name = f"faststream-{next(_runs)}"
        broker = RedisBroker(url, logger=None)
        counter = _Counter(count)

        @broker.subscriber(stream=StreamSub(name, group="g", consumer="c", max_records=100))
        async def handle(message: dict[str, Any]) -> None:
            counter.came()

        await broker.start()
        with Stopwatch() as watch:
            await put_all(count, lambda number: broker.publish({**MESSAGE, "trace_id": f"{number:016}"}, stream=name))
            await counter.done.wait()
        await broker.stop()
        return watch.elapsed_s

    return sample
