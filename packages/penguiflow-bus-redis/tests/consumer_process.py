"""A consumer in a process of its own, for tests that stop or kill it: `consumer_process.py URL PREFIX LEASE_S MODE`.

`hold`: takes a message, says so, and when told to go on does with it all that a consumer can; says what came of it.
`work`: acknowledges messages, and dies of one whose text is "poison".
"""

import asyncio
import os
import sys

from penguiflow_bus_redis import RedisMessageBus


def say(*words: object) -> None:
    print(*words, flush=True)


async def hold(bus: RedisMessageBus, lines: asyncio.StreamReader) -> None:
    while True:
        delivery = await bus.get("q")
        assert delivery is not None
        say("holds", delivery.message["number"], delivery.attempt)
        await lines.readline()
        extended = await bus.extend(delivery)
        await bus.ack(delivery)
        await bus.nack(delivery)
        say("extended" if extended else "refused", delivery.message["number"])


async def work(bus: RedisMessageBus) -> None:
    async def one() -> None:
        while True:
            delivery = await bus.get("q")
            assert delivery is not None
            if delivery.message["text"] == "poison":
                os._exit(1)
            # What is held when the process dies is delivered again, and not to blame.
            await asyncio.sleep(0.02)
            await bus.ack(delivery)
            say("did", delivery.message["number"])

    await asyncio.gather(*(one() for _ in range(4)))


async def main(url: str, prefix: str, lease_s: float, mode: str) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with RedisMessageBus(url, prefix=prefix, lease_s=lease_s, max_deliveries=4) as bus:
        await (hold(bus, lines) if mode == "hold" else work(bus))


asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]))
