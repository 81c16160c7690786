"""Blocks of an LLM server: matched, leased, loaded, stored."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pegaflow
from pegaflow import BlockCache, PegaEngine

BLOCK = 4096


def names(*numbers: int) -> list[bytes]:
    return [bytes([number]) * 32 for number in numbers]


def blocks(*numbers: int) -> list[bytes]:
    return [bytes([number]) * BLOCK for number in numbers]


@pytest.fixture(params=["embedded", "sidecar"])
def cache(request: pytest.FixtureRequest, serve: Callable[..., Any]) -> BlockCache:
    if request.param == "sidecar":
        return BlockCache(serve("--memory", str(8 * BLOCK)).connect(), "model")
    return BlockCache(PegaEngine(memory_bytes=8 * BLOCK), "model")


def test_what_is_stored_is_matched_leased_and_loaded(cache: BlockCache) -> None:
    assert cache.store(names(0, 1, 2), blocks(0, 1, 2)) == []
    assert cache.match_prefix(names(0, 1, 9, 2)) == 2
    assert cache.match_prefix(b"".join(names(0, 1, 2, 3))) == 3
    with cache.lease(names(1, 2, 9)) as lease:
        buffers = [bytearray(BLOCK) for _ in range(3)]
        assert lease.present == [True, True, False]
        assert cache.load_into(lease, buffers) == [2]
        assert buffers[:2] == blocks(1, 2)


def test_leased_blocks_stay_and_a_released_lease_loads_nothing(cache: BlockCache) -> None:
    cache.store(names(0, 1), blocks(0, 1))
    lease = cache.lease(names(0, 1))
    cache.store(names(*range(10, 30)), blocks(*range(10, 30)))
    assert cache.match_prefix(names(0, 1)) == 2
    lease.release()
    assert not lease.held
    with pytest.raises(pegaflow.LeaseLostError):
        cache.load_into(lease, [None, None])


def test_a_lease_is_attached_by_its_token(cache: BlockCache) -> None:
    cache.store(names(0), blocks(0))
    lease = cache.lease(names(0))
    attached = cache.attach(lease.token)
    buffer = bytearray(BLOCK)
    assert cache.load_into(attached, [buffer]) == []
    assert buffer == blocks(0)[0]
    with pytest.raises(pegaflow.LeaseLostError):
        cache.attach(lease.token ^ 1)


def test_a_transfer_in_the_background_is_polled_or_waited_for(cache: BlockCache) -> None:
    job = cache.start_store(names(0, 1), blocks(0, 1))
    while not job.done():
        pass
    assert job.result() == []
    lease = cache.lease(names(0, 1, 9))
    buffers = [bytearray(BLOCK) for _ in range(3)]
    job = cache.start_load(lease, buffers)
    told = threading.Event()
    job.add_done_callback(told.set)
    lease.release()
    assert told.wait(10)
    assert job.result(timeout_s=10) == [2]
    assert buffers[:2] == blocks(0, 1)


def test_a_dropped_job_ends_before_its_memory_goes(cache: BlockCache) -> None:
    for number in range(50):
        cache.start_store(names(number), [bytearray(blocks(number)[0])])
    present = [number for number in range(50) if cache.match_prefix(names(number))]
    for number in present:
        buffer = bytearray(BLOCK)
        with cache.lease(names(number)) as lease:
            assert cache.load_into(lease, [buffer]) == []
        assert buffer == blocks(number)[0]


def test_blocks_are_refused_while_everything_is_leased(cache: BlockCache) -> None:
    cache.store(names(*range(8)), blocks(*range(8)))
    with cache.lease(names(*range(8))):
        assert cache.store(names(20, 21), blocks(20, 21)) == [0, 1]
    assert cache.store(names(20, 21), blocks(20, 21)) == []


def test_namespaces_are_apart_and_outlast_the_engine(tmp_path: Path) -> None:
    with PegaEngine(tmp_path, memory_bytes=64 * BLOCK, disk_bytes=16 << 20) as engine:
        BlockCache(engine, "one").store(names(0, 1), blocks(0, 1))
        assert BlockCache(engine, "two").match_prefix(names(0)) == 0
        assert len(engine) == 0
    with PegaEngine(tmp_path, memory_bytes=64 * BLOCK, disk_bytes=16 << 20) as engine:
        cache = BlockCache(engine, "one")
        cache.hint(names(0, 1), "prefetch")
        with cache.lease(names(0, 1)) as lease:
            assert cache.load_into(lease, [bytearray(BLOCK), bytearray(BLOCK)]) == []
        assert cache.block_bytes == BLOCK


def test_a_quota_gives_up_the_oldest(cache: BlockCache) -> None:
    cache.set_quota_bytes(2 * BLOCK)
    for number in range(4):
        assert cache.store(names(number), blocks(number)) == []
    assert [cache.match_prefix(names(number)) for number in range(4)] == [0, 0, 1, 1]
    assert cache.stats()["quota_drops"] == 2


def test_pinned_blocks_stay_until_they_are_released(cache: BlockCache) -> None:
    cache.store(names(0), blocks(0))
    cache.hint(names(0), "pin", for_s=60)
    cache.store(names(*range(10, 30)), blocks(*range(10, 30)))
    assert cache.match_prefix(names(0)) == 1
    cache.hint(names(0), "release")
    cache.store(names(30), blocks(30))
    assert cache.match_prefix(names(0)) == 0


def test_hints_that_make_no_sense_are_refused(cache: BlockCache) -> None:
    with pytest.raises(pegaflow.InvalidArgumentError, match="for_s"):
        cache.hint(names(0), "pin")
    with pytest.raises(pegaflow.InvalidArgumentError, match="next_use_s"):
        cache.hint(names(0), "next_use", next_use_s=-1)
    with pytest.raises(pegaflow.InvalidArgumentError, match='"keep"'):
        cache.hint(names(0), "keep")  # type: ignore[arg-type]


def test_names_and_blocks_of_no_fit_size_are_refused(cache: BlockCache) -> None:
    for wrong in ([b"short"], [bytes(33)], bytes(33)):
        with pytest.raises(pegaflow.InvalidKeyError):
            cache.match_prefix(wrong)
    with pytest.raises(TypeError):
        cache.match_prefix(["x" * 32])  # type: ignore[list-item]
    cache.store(names(0), blocks(0))
    with pytest.raises(pegaflow.InvalidArgumentError, match="size"):
        cache.store(names(1), [b"small"])
    with pytest.raises(pegaflow.InvalidArgumentError, match="as many"):
        cache.store(names(1), [])


def test_figures_tell_what_an_infinite_cache_would_hit(cache: BlockCache) -> None:
    for _ in range(2):
        cache.store(names(*range(40)), blocks(*range(40)))
    figures = cache.stats()
    assert figures["hit_rate"] == 0
    assert figures["infinite_hit_rate"] == pytest.approx(0.5, abs=0.05)
    assert isinstance(figures["memory_residence_s"] or figures["lifetime_s"], float)
