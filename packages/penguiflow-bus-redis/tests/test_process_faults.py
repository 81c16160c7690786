"""Consumers that are stopped past their lease, and killed by a message; the counts are printed."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from servers import RedisServer

from penguiflow.bus import Delivery
from penguiflow_bus_redis import RedisMessageBus

SCRIPT = Path(__file__).with_name("consumer_process.py")
LEASE_S = 0.6


@asynccontextmanager
async def consumer(server: RedisServer, prefix: str, mode: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a consumer, and kill it at the end if it lives."""
    command = [sys.executable, str(SCRIPT), server.url, prefix, str(LEASE_S), mode]
    pipe = asyncio.subprocess.PIPE
    started = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def read_line(process: asyncio.subprocess.Process) -> list[str]:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), timeout=20)).decode().split()


async def held_by(process: asyncio.subprocess.Process, number: int) -> None:
    """Wait until the consumer has a message."""
    while await read_line(process) != ["holds", str(number), "0"]:
        pass


async def stop_and_wake(
    process: asyncio.subprocess.Process, other: RedisMessageBus, number: int
) -> tuple[str, Delivery]:
    """Stop the consumer until the other bus has its message, wake it and return what came of its acts."""
    process.send_signal(signal.SIGSTOP)
    taken = await other.get("q", timeout_s=20)
    assert taken is not None
    assert process.stdin is not None
    process.stdin.write(b"go on\n")
    process.send_signal(signal.SIGCONT)
    outcome, of = await read_line(process)
    assert (of, taken.message["number"]) == (str(number), number)
    return outcome, taken


@pytest.mark.timeout(300)
async def test_nothing_that_a_stopped_consumer_does_once_it_is_woken_counts(
    redis_server: RedisServer, prefix: str, scale: Callable[[int, int], int], capsys: pytest.CaptureFixture[str]
) -> None:
    rounds, refused = scale(5, 60), 0
    async with (
        consumer(redis_server, prefix, "hold") as process,
        RedisMessageBus(redis_server.url, prefix=prefix, lease_s=LEASE_S) as other,
    ):
        for number in range(rounds):
            await other.put("q", {"trace_id": "t", "number": number})
            await held_by(process, number)
            outcome, taken = await stop_and_wake(process, other, number)
            refused += outcome == "refused"
            # It would be gone, had the acknowledgement of the one that was woken been accepted.
            assert await other.extend(taken)
            await other.ack(taken)
            await leave(other)
    with capsys.disabled():
        print(f"\nstopped past its lease and woken {rounds} times: {refused} times refused, 0 times accepted")
    assert refused == rounds


async def leave(bus: RedisMessageBus) -> None:
    """Wait until the bus asks for no more messages, so that the other consumer gets the next one."""
    task = bus._inboxes["q"]._task
    if task is not None:
        await asyncio.wait([task], timeout=20)


@pytest.mark.timeout(120)
async def test_a_message_that_kills_its_consumers_ends_among_the_dead_and_others_go_on(
    redis_server: RedisServer, prefix: str, scale: Callable[[int, int], int], capsys: pytest.CaptureFixture[str]
) -> None:
    count, done, kills = scale(60, 400), set[int](), 0
    async with RedisMessageBus(redis_server.url, prefix=prefix, lease_s=LEASE_S) as bus:
        texts = ["poison" if number == count // 3 else "fine" for number in range(count)]
        await bus.put_many("q", [{"trace_id": f"t{n % 5}", "number": n, "text": text} for n, text in enumerate(texts)])
        while len(done) < count - 1 or not await bus.list_dead("q"):
            async with consumer(redis_server, prefix, "work") as process:
                while (line := await read_line(process)) and len(done) < count:
                    done.add(int(line[1]))
                    if len(done) == count - 1 and await bus.list_dead("q"):
                        break
                kills += process.returncode is not None or not line
        (letter,) = await bus.list_dead("q")
    with capsys.disabled():
        print(f"\n1 poison message killed {kills} consumers; {len(done)} of {count - 1} others were done")
    assert (letter.message["text"], letter.attempts >= 4, "died" in letter.reason) == ("poison", True, True)


async def test_what_a_killed_consumer_held_is_delivered_again(
    redis_server: RedisServer, prefix: str, take: Callable[..., Awaitable[Delivery]]
) -> None:
    async with (
        consumer(redis_server, prefix, "hold") as process,
        RedisMessageBus(redis_server.url, prefix=prefix, lease_s=LEASE_S) as other,
    ):
        await other.put_many("q", [{"trace_id": "t", "number": number} for number in range(5)])
        await held_by(process, 0)
        process.kill()

        taken = [await take(other) for _ in range(5)]
    assert [delivery.message["number"] for delivery in taken] == [0, 1, 2, 3, 4]
    assert taken[0].attempt == 1
