"""Memory that is cut into pages, and leases that tell where blocks are."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pegaflow
from pegaflow import BlockCache, BlockPages, PegaEngine

Serve = Callable[..., Any]
HASHES = [bytes([number]) * 32 for number in range(4)]


def filled(layers: int, pages: int, page_bytes: int) -> list[bytearray]:
    return [
        bytearray((layer * pages + page) % 251 for page in range(pages) for _ in range(page_bytes))
        for layer in range(layers)
    ]


def test_blocks_go_from_pages_to_other_pages() -> None:
    source, target = filled(3, 8, 1024), [bytearray(8 * 1024) for _ in range(3)]
    cache = BlockCache(PegaEngine(memory_bytes=4 << 20), "model")
    assert cache.store(HASHES, BlockPages(source, 8).at([7, 0, 3, 2])) == []

    with cache.lease(HASHES) as lease:
        assert cache.start_load(lease, BlockPages(target, 8).at([1, None, 5, 4])).result() == []

    for layer, taken in zip(source, target, strict=True):
        pages = [bytes(taken[page * 1024 : (page + 1) * 1024]) for page in range(8)]
        assert (
            b"".join((pages[1], pages[5], pages[4]))
            == layer[7 * 1024 :] + layer[3 * 1024 : 4 * 1024] + layer[2048:3072]
        )
        assert pages[0] == bytes(1024)


def test_pages_that_are_not_there_are_refused() -> None:
    pages = BlockPages([bytearray(4096)], 4)
    assert (len(pages), pages.block_bytes, len(pages.at([0, 3]))) == (4, 1024, 2)
    with pytest.raises(pegaflow.InvalidArgumentError, match="no such page"):
        pages.at([4])
    with pytest.raises(pegaflow.InvalidArgumentError, match="so many pages"):
        BlockPages([bytearray(4096)], 5)
    with pytest.raises(pegaflow.InvalidArgumentError, match="needs a page"):
        BlockCache(PegaEngine(memory_bytes=4 << 20), "model").store(HASHES[:1], pages.at([None]))


def test_pages_keep_the_memory_that_they_are_made_of() -> None:
    memory = bytearray(4096)
    pages = BlockPages([memory], 4).at([0])
    with pytest.raises(BufferError):
        memory.extend(b"more")
    del pages
    memory.extend(b"more")


def test_a_lease_tells_which_blocks_are_on_disk(tmp_path: Path) -> None:
    with PegaEngine(tmp_path, memory_bytes=4 << 20) as engine:
        cache = BlockCache(engine, "model")
        assert cache.store(HASHES[:2], [bytes(4096)] * 2) == []
        engine.flush()
        cache.hint(HASHES[:1], "demote")
        with cache.lease(HASHES[:3]) as lease:
            assert (lease.present, lease.on_disk) == ([True, True, False], [True, False, False])


def test_a_sidecar_that_is_stopped_keeps_nobody_waiting(serve: Serve) -> None:
    sidecar = serve("--memory", "4MiB")
    engine = pegaflow.connect(sidecar.socket, reply_timeout_s=0.2)
    cache = BlockCache(engine, "model")
    assert cache.store(HASHES[:1], [bytes(4096)]) == []
    sidecar.process.send_signal(signal.SIGSTOP)
    os.waitpid(sidecar.process.pid, os.WUNTRACED)
    try:
        with pytest.raises(pegaflow.TimedOutError):
            cache.match_prefix(HASHES)
    finally:
        sidecar.process.send_signal(signal.SIGCONT)
    assert BlockCache(sidecar.connect(), "model").match_prefix(HASHES) == 1
    engine.close()
