"""Several processes at one queue: who gets what, in which order, as they come and go."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from servers import RedisServer

from penguiflow.bus import Delivery
from penguiflow_bus_redis import (
    BusMisconfigured,
    BusRefused,
    MessageNotJson,
    PartitionsDiffer,
    RedisMessageBus,
    open_url,
)

MakeBus = Callable[..., RedisMessageBus]
Take = Callable[..., Awaitable[Delivery]]

ROOT = Path(__file__).parents[3]


class Journal:
    """First deliveries of each trace, in the order in which they were made."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.by_reader: dict[int, int] = defaultdict(int)
        self._came = asyncio.Event()

    async def read(self, bus: RedisMessageBus, reader: int) -> None:
        while True:
            delivery = await bus.get("q")
            assert delivery is not None
            self.by_reader[reader] += 1
            if delivery.attempt == 0:
                self.numbers[delivery.message["trace_id"]].append(delivery.message["number"])
                self._came.set()
            await asyncio.sleep(0)
            await bus.ack(delivery)

    async def complete(self, count: int) -> None:
        """Wait until so many messages were delivered."""
        async with asyncio.timeout(60):
            while sum(map(len, self.numbers.values())) < count:
                self._came.clear()
                await self._came.wait()


@pytest.mark.timeout(300)
async def test_order_within_a_trace_stays_while_consumers_come_and_go(
    make_bus: MakeBus, scale: Callable[[int, int], int]
) -> None:
    total, journal, fresh = scale(600, 5000), Journal(), itertools.count()
    producer = make_bus(lease_s=5.0)
    readers: list[tuple[RedisMessageBus, asyncio.Task[None]]] = []
    for number in range(total):
        await producer.put("q", {"trace_id": f"t{number % 20}", "number": number})
        if number % (total // 10) == 0:
            bus = make_bus(lease_s=5.0)
            readers.append((bus, asyncio.create_task(journal.read(bus, next(fresh)))))
        if len(readers) > 3:
            bus, task = readers.pop(0)
            task.cancel()
            await bus.aclose()
    await journal.complete(total)
    for _, task in readers:
        task.cancel()
    assert all(numbers == sorted(numbers) for numbers in journal.numbers.values())


async def test_two_consumers_share_the_work(make_bus: MakeBus) -> None:
    one, other = make_bus(), make_bus()
    journal = Journal()
    readers = [asyncio.create_task(journal.read(bus, number)) for number, bus in enumerate((one, other))]
    for number in range(400):
        await one.put("q", {"trace_id": f"t{number}", "number": number})
    await journal.complete(400)
    for reader in readers:
        reader.cancel()

    assert min(journal.by_reader[number] for number in (0, 1)) > 50


async def test_one_who_asks_no_longer_leaves_what_it_read_ahead_to_others(make_bus: MakeBus, take: Take) -> None:
    one, other = make_bus(), make_bus()
    await one.put_many("q", list(range(5)))
    held = await take(one)

    taken = [await take(other) for _ in range(4)]
    assert [(delivery.message, delivery.attempt) for delivery in taken] == [(n, 0) for n in (1, 2, 3, 4)]
    assert await one.extend(held)


async def test_a_producer_is_woken_by_a_consumer_elsewhere(make_bus: MakeBus, take: Take) -> None:
    one, other = make_bus(max_len=1), make_bus(max_len=1)
    await one.put("q", 1)
    producer = asyncio.create_task(one.put("q", 2))
    await other.ack(await take(other))

    await asyncio.wait_for(producer, timeout=5)
    assert (await take(other)).message == 2


async def test_a_queue_with_another_number_of_partitions_is_refused(make_bus: MakeBus) -> None:
    await make_bus(partitions=4).put("q", 1)
    other = make_bus(partitions=8)

    with pytest.raises(PartitionsDiffer, match=r"4 partitions.*partitions=8"):
        await other.put("q", 2)
    with pytest.raises(PartitionsDiffer):
        await other.get("q", timeout_s=5)


async def test_what_json_cannot_hold_is_refused_by_queue(make_bus: MakeBus) -> None:
    bus = make_bus()
    for message in ({1, 2}, float("nan"), object()):
        with pytest.raises(MessageNotJson, match="'q'"):
            await bus.put("q", message)


async def test_a_server_without_memory_says_so(make_bus: MakeBus) -> None:
    with RedisServer(maxmemory="2mb") as server:
        bus = make_bus(server.url)
        with pytest.raises(BusRefused, match="maxmemory"):
            await bus.put_many("q", ["x" * 10_000] * 500)
        await bus.aclose()


@pytest.mark.parametrize(
    "options",
    [
        {"max_len": 0},
        {"max_dead": 0},
        {"partitions": 0},
        {"read_ahead": 0},
        {"max_deliveries": 0},
        {"lease_s": 0.01},
        {"give_up_s": 0},
        {"prefix": "{}"},
        {"url": "http://localhost"},
    ],
    ids=str,
)
def test_an_option_that_cannot_be_used_is_refused_by_name(options: dict[str, object]) -> None:
    with pytest.raises(BusMisconfigured, match=next(iter(options))):
        RedisMessageBus(**{"url": "redis://localhost", **options})  # type: ignore[arg-type]


async def test_calls_with_times_that_cannot_be_are_refused(make_bus: MakeBus, take: Take) -> None:
    bus = make_bus()
    await bus.put("q", 1)
    delivery = await take(bus)

    with pytest.raises(BusMisconfigured, match="delay_s"):
        await bus.nack(delivery, delay_s=-1)
    with pytest.raises(BusMisconfigured, match="ttl_s"):
        await bus.expire("q", 0)


async def test_a_url_makes_a_bus_and_connects_to_nothing() -> None:
    for scheme in ("redis", "rediss", "valkey"):
        await open_url(f"{scheme}://user:secret@nowhere.invalid:1/0").aclose()


async def test_many_queues_that_were_used_once_are_forgotten(make_bus: MakeBus, take: Take) -> None:
    bus = make_bus(lease_s=0.3)
    for number in range(130):
        await bus.put(f"reply-{number}", number)

    assert len(bus._outboxes) < 130


@pytest.mark.parametrize("page", ["packages/penguiflow-bus-redis/README.md", "docs/guide/message-bus.md"])
async def test_the_pages_that_need_a_redis_run_with_one(page: str, redis_server: RedisServer) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    _, _, rest = text.partition("```python\nfrom penguiflow_bus_redis")
    block = "from penguiflow_bus_redis" + rest.partition("```")[0]
    body = block.replace("redis://localhost:6379/0", redis_server.url).replace("\n", "\n    ")

    space: dict[str, object] = {}
    exec(f"async def run():\n    {body}", space)
    await space["run"]()  # type: ignore[operator]
