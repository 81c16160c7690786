"""What clients of one sidecar share: block caches, leases, transactions, changes."""

from collections.abc import Callable
from typing import Any

import pytest

import pegaflow
from pegaflow import BlockCache

Serve = Callable[..., Any]

BLOCK_BYTES = 1 << 20


def names(start: int, end: int) -> list[bytes]:
    return [i.to_bytes(16, "big") for i in range(start, end)]


def blocks(start: int, end: int) -> list[bytes]:
    return [bytes([i]) * BLOCK_BYTES for i in range(start, end)]


def buffers(count: int) -> list[bytearray]:
    return [bytearray(BLOCK_BYTES) for _ in range(count)]


def test_a_lease_of_one_client_is_loaded_by_another(serve: Serve) -> None:
    server = serve("--memory", "64MiB")
    scheduler, worker = (BlockCache(server.connect(), "model") for _ in range(2))
    assert scheduler.store(names(0, 8), blocks(0, 8)) == []
    assert worker.match_prefix(names(0, 20)) == 8
    lease = scheduler.lease(names(6, 10))
    arrived = buffers(4)
    assert worker.load_into(worker.attach(lease.token), arrived) == [2, 3]
    assert arrived[:2] == blocks(6, 8)


def test_a_lease_ends_with_the_process_that_took_it(serve: Serve) -> None:
    server = serve("--memory", "64MiB")
    cache = BlockCache(server.connect(), "model")
    cache.store(names(0, 4), blocks(0, 4))
    code = """
lease = pegaflow.BlockCache(engine, "model").lease([i.to_bytes(16, "big") for i in range(4)])
print(lease.token, flush=True)
input()
"""
    owner = server.run_client(code)
    lease = cache.attach(int(owner.announced))
    assert lease.present == [True] * 4
    owner.kill()
    server.await_figure("sidecar_reclaimed_leases_total", at_least=1)
    with pytest.raises(pegaflow.LeaseLostError):
        cache.load_into(lease, buffers(4))


async def test_loads_and_stores_are_awaited(serve: Serve) -> None:
    cache = BlockCache(serve("--memory", "64MiB").connect(), "model")
    assert await cache.astore(names(0, 4), blocks(0, 4)) == []
    lease = await cache.alease(names(0, 4))
    arrived = buffers(4)
    assert await cache.aload_into(lease, arrived) == []
    assert arrived == blocks(0, 4)


def test_figures_of_a_namespace_are_those_of_all_clients(serve: Serve) -> None:
    server = serve("--memory", "64MiB")
    one, other = (BlockCache(server.connect(), "model") for _ in range(2))
    one.store(names(0, 4), blocks(0, 4))
    other.store(names(0, 4), blocks(0, 4))
    figures = one.stats()
    assert (figures["stored_blocks"], figures["present_blocks"], figures["blocks"]) == (4, 4, 4)


def test_a_transaction_is_seen_whole(serve: Serve) -> None:
    server = serve("--memory", "64MiB")
    writer, reader = server.connect(), server.connect()
    writer.put("old", b"1")
    with writer.transaction() as tx:
        tx.put("large", bytes(5 << 20))
        tx.put("small", b"2")
        tx.remove("old")
        assert reader.get("small") is None
    assert reader.get_many(["old", "small"]) == [None, b"2"]
    assert reader.get("large") == bytes(5 << 20)


async def test_an_engine_is_awaited(serve: Serve) -> None:
    engine = serve("--memory", "64MiB").connect()
    await engine.aput("key", b"value")
    assert await engine.aget("key") == b"value"
    assert await engine.aget_many(["key", "none"]) == [b"value", None]
    assert await engine.aremove("key")


def test_an_engine_of_its_own_follows_a_sidecar(serve: Serve) -> None:
    source = serve("--memory", "64MiB").connect()
    source.put("before", b"1")
    with pegaflow.PegaEngine(memory_bytes=64 << 20) as follower:
        changes = source.subscribe()
        snapshot = source.snapshot()
        follower.restore(snapshot, snapshot.seq)
        source.put("after", bytes(1 << 20))
        source.remove("before")
        follower.apply([change for change in (changes.poll(5), changes.poll(5)) if change is not None])
        assert follower.scan() == [b"after"]
        assert follower.get("after") == bytes(1 << 20)
        assert follower.applied_seq == source.last_seq


def test_changes_are_not_applied_through_a_sidecar(serve: Serve) -> None:
    engine = serve("--memory", "64MiB").connect()
    with pytest.raises(pegaflow.InvalidArgumentError, match="in the process that owns the engine"):
        engine.apply([])
