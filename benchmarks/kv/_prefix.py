"""The block cache's prefix lookup: 1,000 hashes among 100,000 blocks."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.kv._results import Measurement
from pegaflow import BlockCache, PegaEngine

_BLOCKS = 100_000
_PROMPT = 1_000
_BLOCK_BYTES = 64
_MOST_US = 100.0


def measure(rounds: int) -> Iterator[Measurement]:
    """Look up prompts that are all there, from all over the cache."""
    hashes = [hashlib.sha256(number.to_bytes(8)).digest() for number in range(_BLOCKS)]
    with PegaEngine(memory_bytes=256 << 20) as engine:
        cache = BlockCache(engine, "benchmark")
        block = bytes(_BLOCK_BYTES)
        for start in range(0, _BLOCKS, _PROMPT):
            cache.store(hashes[start : start + _PROMPT], [block] * _PROMPT)
        prompts = [hashes[start::97][:_PROMPT] for start in range(20)]
        packed = [b"".join(prompt) for prompt in prompts]
        for form, given in (("a list", prompts), ("one packed buffer", packed)):
            median_us = _median_us(cache.match_prefix, given, rounds)
            yield Measurement(
                suite="prefix",
                what=f"match_prefix of {_PROMPT:,}, {form}",
                contender="pegaflow",
                value=median_us,
                unit="us",
                target=f"<= {_MOST_US:g} us",
                met=median_us <= _MOST_US,
            )


def _median_us(match_prefix: Callable[..., int], prompts: Sequence[object], rounds: int) -> float:
    taken_s = []
    for _ in range(rounds):
        for prompt in prompts:
            start = time.perf_counter()
            matched = match_prefix(prompt)
            taken_s.append(time.perf_counter() - start)
            if matched != _PROMPT:
                raise ValueError(f"{matched} of {_PROMPT} blocks matched, though all were stored")
    return statistics.median(taken_s) * 1e6
