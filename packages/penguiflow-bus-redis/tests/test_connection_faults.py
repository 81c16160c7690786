"""Redis that is stopped, killed, paused or cut off, and what comes twice; the counts are printed."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from servers import RedisServer

from penguiflow.bus import Delivery
from penguiflow_bus_redis import BusClosed, BusUnavailable, RedisMessageBus

MakeBus = Callable[..., RedisMessageBus]
Take = Callable[..., Awaitable[Delivery]]


class CuttingProxy:
    """Passes bytes to a server, and now and then cuts the connection in place of the reply."""

    def __init__(self, port: int, share: float) -> None:
        self._port = port
        self._share = share
        self._random = random.Random(7)
        self.cuts = 0
        self.url = ""

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["CuttingProxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._port)
        forward = asyncio.create_task(self._pass(reader, upstream, cut=False))
        try:
            await self._pass(upstream_reader, writer, cut=True)
        finally:
            forward.cancel()
            for each in (writer, upstream):
                each.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, cut: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                if cut and self._random.random() < self._share:
                    self.cuts += 1
                    return
                sink.write(data)
                await sink.drain()
        if not cut:
            sink.close()


async def produce(bus: RedisMessageBus, count: int) -> None:
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await bus.put("q", {"trace_id": f"t{number % 10}", "number": number, "text": f"it is {number}"})

    await asyncio.gather(*(some() for _ in range(8)))


async def consume(
    bus: RedisMessageBus, count: int, came: Counter[int], arrivals: asyncio.Queue[int] | None = None
) -> None:
    while len(came) < count:
        delivery = await bus.get("q", timeout_s=0.2)
        if delivery is not None:
            assert delivery.message["text"] == f"it is {delivery.message['number']}"
            came[delivery.message["number"]] += 1
            await bus.ack(delivery)
            if arrivals is not None:
                arrivals.put_nowait(len(came))


async def drained(bus: RedisMessageBus, came: Counter[int]) -> None:
    """Take what comes again, until nothing does for longer than a lease."""
    while (delivery := await bus.get("q", timeout_s=3 * bus.lease_s)) is not None:
        came[delivery.message["number"]] += 1
        await bus.ack(delivery)


@pytest.mark.timeout(240)
async def test_connections_cut_before_the_reply_lose_nothing_and_mix_nothing_up(
    redis_server: RedisServer, make_bus: MakeBus, scale: Callable[[int, int], int], capsys: pytest.CaptureFixture[str]
) -> None:
    count, came = scale(400, 5000), Counter[int]()
    async with CuttingProxy(redis_server.port, share=0.05).listening() as proxy:
        one, other = (make_bus(proxy.url, lease_s=1.0) for _ in range(2))
        await asyncio.gather(produce(one, count), consume(one, count, came), consume(other, count, came))
        await one.aclose()
        await other.aclose()
    bus = make_bus(lease_s=1.0)
    await drained(bus, came)
    twice = sum(times > 1 for times in came.values())
    with capsys.disabled():
        print(f"\n{proxy.cuts} connections cut before the reply: {len(came)} of {count} came, {twice} more than once")
    assert (set(came), proxy.cuts > 0) == (set(range(count)), True)
    assert await bus.list_dead("q") == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_a_server_that_goes_and_comes_back_loses_nothing(
    way: str, make_bus: MakeBus, scale: Callable[[int, int], int], capsys: pytest.CaptureFixture[str]
) -> None:
    rounds, came = scale(3, 20), Counter[int]()
    count = rounds * 100
    with RedisServer() as server:
        one, other = make_bus(server.url, lease_s=2.0), make_bus(server.url, lease_s=2.0)
        arrivals = asyncio.Queue[int]()
        readers = [asyncio.create_task(consume(bus, count, came, arrivals)) for bus in (one, other)]
        producer = asyncio.create_task(produce(one, count))
        for seen in range(rounds):
            while len(came) < seen * 100 + 30:
                await arrivals.get()
            getattr(server, way)()
            await asyncio.to_thread(server.start)
        await asyncio.gather(producer, *readers)
        await drained(one, came)
        twice = sum(times > 1 for times in came.values())
        await one.aclose()
        await other.aclose()
    with capsys.disabled():
        print(f"\nRedis gone ({way}) {rounds} times: {len(came)} of {count} came, {twice} more than once")
    assert set(came) == set(range(count))


async def test_a_thousand_duplicates_are_acknowledged_once_each(
    make_bus: MakeBus, take: Take, prefix: str, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    bus, handed = make_bus(max_len=1000), Counter[int]()
    await bus.put_many("q", list(range(1000)))
    stale = [await take(bus) for _ in range(1000)]
    await asyncio.gather(*(bus.nack(delivery) for delivery in stale))
    for _ in range(1000):
        delivery = await take(bus)
        handed[delivery.message] += delivery.attempt
        await bus.ack(delivery)
    for delivery in stale:
        await bus.ack(delivery)
    assert await bus.get("q", timeout_s=0.1) is None

    with capsys.disabled():
        print(f"\n{sum(handed.values())} duplicates of {len(handed)} messages, none left")
    assert handed == Counter(range(1000)) | Counter(dict.fromkeys(range(1000), 1))
    assert redis_server.command(f"HGET {{{prefix}:q}}:q n").split()[-1] == "0"


async def test_scripts_that_the_server_has_forgotten_are_loaded_again(
    make_bus: MakeBus, take: Take, redis_server: RedisServer
) -> None:
    bus = make_bus()
    await bus.put("q", 1)
    redis_server.command("SCRIPT FLUSH")
    await bus.put("q", 2)

    assert [(await take(bus)).message for _ in range(2)] == [1, 2]


async def test_a_queue_that_someone_deleted_begins_anew(
    make_bus: MakeBus, take: Take, redis_server: RedisServer
) -> None:
    bus = make_bus(lease_s=0.5)
    await bus.put("q", "lost")
    lost = await take(bus)
    redis_server.command("FLUSHALL")
    await bus.put("q", "found")

    assert (await take(bus)).message == "found"
    assert not await bus.extend(lost)


async def test_a_server_that_is_away_is_named_after_a_while_and_found_when_it_is_back() -> None:
    with RedisServer() as server:
        async with RedisMessageBus(server.url, give_up_s=0.2) as bus:
            await bus.put("q", "kept")
            server.stop()
            with pytest.raises(BusUnavailable, match=rf"127\.0\.0\.1:{server.port}"):
                await bus.put("q", "not kept")
            await asyncio.to_thread(server.start)
            await _until_it_is_there(bus)
            delivery = await bus.get("q", timeout_s=10)

    assert delivery is not None
    assert delivery.message == "kept"


async def _until_it_is_there(bus: RedisMessageBus) -> None:
    while True:
        with contextlib.suppress(BusUnavailable):
            return await bus.expire("other", 60)


async def test_closing_ends_calls_that_wait_and_gives_messages_back(make_bus: MakeBus, take: Take) -> None:
    bus, other = make_bus(max_len=1), make_bus(max_len=1)
    await bus.put("q", "held")
    await take(bus)
    waiting: list[asyncio.Task[Any]] = [
        asyncio.create_task(bus.get("empty")),
        asyncio.create_task(bus.put("q", "no room")),
    ]
    await asyncio.wait(waiting, timeout=0.2)
    await bus.aclose()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [BusClosed, BusClosed]
    assert (await take(other)).attempt == 1
    with pytest.raises(BusClosed) as closed:
        await bus.put("q", "late")
    assert isinstance(closed.value, RuntimeError)


async def test_closing_while_redis_is_away_ends(make_bus: MakeBus) -> None:
    with RedisServer() as server:
        bus = make_bus(server.url)
        await bus.put("q", 1)
        assert await bus.get("q", timeout_s=5) is not None
        server.kill()
        async with asyncio.timeout(10):
            await bus.aclose()
