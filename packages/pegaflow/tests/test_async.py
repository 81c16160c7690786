"""The twins for asyncio: the loop goes on, and no call starts a thread."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import pegaflow
from pegaflow import BlockCache, PegaEngine


async def test_every_operation_has_a_twin(tmp_path: Path) -> None:
    for path in (None, tmp_path):
        engine = PegaEngine(path, memory_bytes=1 << 20, disk_bytes=8 << 20)
        await engine.aput("small", b"1")
        await engine.aput("large", bytes(100_000), ttl_s=60)
        assert await engine.aget_many(["small", "none"]) == [b"1", None]
        assert await engine.aget("large") == bytes(100_000)
        assert await engine.aget_into("large", bytearray(100_000)) == 100_000
        assert bytes(await engine.aget_view("small") or b"") == b"1"
        assert await engine.acontains("small")
        await engine.aput_many({"a": b"1"})
        assert await engine.ascan("a") == [b"a"]
        assert await engine.aremove("a")
        assert await engine.aremove_many(["large", "none"]) == 1
        await engine.aflush()
        await engine.aclose()
        with pytest.raises(pegaflow.ClosedError):
            await engine.aget("small")


async def test_a_thousand_calls_share_a_few_threads(tmp_path: Path) -> None:
    with PegaEngine(tmp_path, memory_bytes=1 << 20, disk_bytes=64 << 20, durability="sync") as engine:
        await asyncio.gather(*(engine.aput(str(i), bytes(1000)) for i in range(1000)))
        assert threading.active_count() < 20
        assert len(engine) == 1000
        assert engine.stats()["disk_syncs"] < 900


async def test_the_loop_goes_on_while_a_write_waits_for_the_disk(tmp_path: Path) -> None:
    with PegaEngine(tmp_path, memory_bytes=32 << 20, disk_bytes=256 << 20, durability="sync") as engine:
        ticks = 0
        writing = asyncio.ensure_future(engine.aput_many((str(i), bytes(1 << 20)) for i in range(16)))
        while not writing.done():
            ticks += 1
            await asyncio.sleep(0)
        await writing
        assert ticks > 10


async def test_blocks_are_transferred_without_blocking() -> None:
    cache = BlockCache(PegaEngine(memory_bytes=1 << 20), "model", hash_bytes=16)
    hashes = [bytes([i]) * 16 for i in range(10)]
    assert await cache.astore(hashes, [bytes([i]) * 4096 for i in range(10)]) == []
    with await cache.alease(hashes) as lease:
        buffers = [bytearray(4096) for _ in hashes]
        assert await cache.aload_into(lease, buffers) == []
    assert buffers == [bytes([i]) * 4096 for i in range(10)]


async def test_a_cancelled_transfer_leaves_the_engine_well() -> None:
    cache = BlockCache(PegaEngine(memory_bytes=64 << 20), "model", hash_bytes=16)
    hashes = [bytes([i]) * 16 for i in range(32)]
    storing = asyncio.ensure_future(cache.astore(hashes, [bytes(1 << 20)] * 32))
    await asyncio.sleep(0)
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert await cache.astore(hashes, [bytes(1 << 20)] * 32) == []
    assert cache.match_prefix(hashes) == 32


async def test_changes_are_awaited_as_they_come() -> None:
    engine = PegaEngine(memory_bytes=1 << 20)
    engine.subscribe()
    engine.put("first", b"1")
    changes = engine.asubscribe(engine.last_seq)
    assert (await anext(changes)).key == b"first"
    waiting = asyncio.ensure_future(anext(changes))
    await engine.aput("second", b"2")
    assert (await waiting).value == b"2"


async def test_followers_that_wait_keep_nobody_from_working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pegaflow._engine._POLL_S", 600.0)
    with PegaEngine(tmp_path, memory_bytes=1 << 20, disk_bytes=8 << 20) as engine:
        engine.put("first", b"1")
        followers = [engine.asubscribe(engine.last_seq) for _ in range(16)]
        for changes in followers:
            assert (await anext(changes)).key == b"first"
        waiting = [asyncio.ensure_future(anext(changes)) for changes in followers]
        await asyncio.sleep(0)
        assert await engine.ascan() == [b"first"]
        assert not any(task.done() for task in waiting)
        await engine.aput("second", b"2")
        assert {change.key for change in await asyncio.gather(*waiting)} == {b"second"}


_FORKING = """
import asyncio, os, sys, pegaflow
engine = pegaflow.PegaEngine(sys.argv[1], memory_bytes=1 << 20, disk_bytes=8 << 20, durability="sync")
asyncio.run(engine.aput("key", b"1"))
child = os.fork()
if child == 0:
    assert asyncio.run(engine.aget_many(["key"])) == [b"1"]
    try:
        asyncio.run(engine.aput("key", b"2"))
    except pegaflow.ClosedError as error:
        engine.close()
        os._exit(7 if "forked" in str(error) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
engine.put("later", b"3")
engine.close()
"""


def test_a_forked_child_reads_and_is_told_that_it_cannot_write(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _FORKING, str(tmp_path)]
    subprocess.run(command, check=True, timeout=30)
    with PegaEngine(tmp_path, memory_bytes=1 << 20, disk_bytes=8 << 20) as engine:
        assert engine.get_many(["key", "later"]) == [b"1", b"3"]
