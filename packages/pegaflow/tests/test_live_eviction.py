"""A block cache under the requests of the trace hits what the replay says it would."""

import json
import lzma
from fractions import Fraction
from pathlib import Path

import pytest

from pegaflow import BlockCache, PegaEngine
from pegaflow._replay import replay
from pegaflow._trace import read_trace

TRACE = Path(__file__).parents[3] / "benchmarks" / "data" / "conversation_trace.jsonl.xz"
CAPACITY = Fraction(1, 20)
BLOCK = bytes(1024)


def live_hit_rate(policy: str, capacity_blocks: int) -> float:
    references = hits = 0
    with PegaEngine(memory_bytes=capacity_blocks * len(BLOCK), policy=policy) as engine, lzma.open(TRACE) as lines:
        cache = BlockCache(engine, "trace", hash_bytes=16)
        for line in lines:
            blocks = json.loads(line)["hash_ids"]
            hashes = b"".join(block.to_bytes(16, "big") for block in blocks)
            references += len(blocks)
            hits += cache.match_prefix(hashes)
            assert cache.store(hashes, [BLOCK] * len(blocks)) == []
    return hits / references


@pytest.mark.parametrize("policy", ["fifo", "lru", "arc", "s3-fifo", "sieve", "weighted-lru"])
def test_a_block_cache_hits_what_the_replay_says(policy: str) -> None:
    expected = replay(read_trace(TRACE), policy, CAPACITY)
    assert live_hit_rate(policy, expected.capacity_blocks) == pytest.approx(expected.hit_rate, abs=0.005)


def test_a_block_cache_that_holds_all_hits_all_that_can_be_hit() -> None:
    expected = replay(read_trace(TRACE), "lru", Fraction(1))
    assert live_hit_rate("lru", expected.unique_blocks) == pytest.approx(expected.ideal_hit_rate, abs=1e-9)
