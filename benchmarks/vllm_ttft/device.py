"""`python -m benchmarks.vllm_ttft.device`: the device layer alone, next to plain copies. It needs torch and no vLLM.

On a GPU the blocks cross between tensors of the device and the arena of an engine, and the floor is a copy to or from
pinned memory. Without one the tensors lie in memory, and the floor is a copy there.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.kv._results import Measurement, machine, show, write
from benchmarks.vllm_ttft._page import put_into, tables
from pegaflow import BlockCache, PegaEngine
from pegaflow_vllm._device import pages_on_device
from pegaflow_vllm._layout import group_pages

LAYERS = 12
PAGE_BYTES = 64 << 10
"""What a block takes in a layer: 32 tokens of 4 heads of 64 in float32, as in the engines of the benchmark."""

BLOCKS = 256


def measure(rounds: int) -> Iterator[Measurement]:
    """Save and load all blocks in each round, beside a copy of as many bytes."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size_bytes = LAYERS * PAGE_BYTES * BLOCKS
    caches = {
        f"layer {number}": torch.randint(0, 255, (BLOCKS, PAGE_BYTES), dtype=torch.uint8, device=device)
        for number in range(LAYERS)
    }
    with PegaEngine(memory_bytes=3 * size_bytes) as engine:
        pages = pages_on_device(
            group_pages(caches, [list(caches)], BLOCKS, dict.fromkeys(caches, "CPU_ATTN"))[0], BLOCKS
        )
        cache = BlockCache(engine, "device")
        names = [b"".join(_name(round_, block) for block in range(BLOCKS)) for round_ in range(rounds + 1)]
        turn = iter(names)
        last = [next(turn)]
        pages.save(cache, last[0], range(BLOCKS), pages.fence())

        def save() -> None:
            last[0] = next(turn)
            assert not pages.save(cache, last[0], range(BLOCKS), pages.fence())

        def load() -> None:
            with cache.lease(last[0]) as lease:
                assert not pages.load(cache, lease, list(range(BLOCKS)))

        to_device, from_device = _copies(device, size_bytes)
        cases = {"save": save, "from the device": from_device, "load": load, "to the device": to_device}
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, case in cases.items():
                taken[name].append(_timed_s(case, device))
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    what = f"{LAYERS} layers, {BLOCKS} blocks, {size_bytes >> 20} MiB, {where}"
    yield from _rows(what, taken, size_bytes, "pinned copy" if device == "cuda" else "memcpy")


def _copies(device: str, size_bytes: int) -> tuple[Callable[[], None], Callable[[], None]]:
    host = torch.ones(size_bytes, dtype=torch.uint8, pin_memory=device == "cuda")
    there = torch.ones(size_bytes, dtype=torch.uint8, device=device)

    def to_device() -> None:
        there.copy_(host, non_blocking=True)

    def from_device() -> None:
        host.copy_(there, non_blocking=True)

    return to_device, from_device


def _timed_s(case: Callable[[], None], device: str) -> float:
    begun = time.perf_counter()
    case()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def _rows(what: str, taken: dict[str, list[float]], size_bytes: int, floor: str) -> Iterator[Measurement]:
    for name, against in (("save", "from the device"), ("load", "to the device")):
        ratio = statistics.median(plain / ours for ours, plain in zip(taken[name], taken[against], strict=True))
        figures: list[tuple[str, str, float | None]] = [(floor, against, None), ("device layer", name, ratio)]
        for contender, case, one in figures:
            rate = size_bytes / statistics.median(taken[case]) / 1e9
            yield Measurement(
                suite="device",
                what=f"{name}, {what}",
                contender=contender,
                value=rate,
                unit="GB/s",
                ratio=one,
                floor=floor if one is not None else "",
            )


def _name(round_: int, block: int) -> bytes:
    return hashlib.sha256(f"{round_}/{block}".encode()).digest()


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vllm_ttft.device", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of which the median counts; default: %(default)s")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/vllm_device.json"))
    parser.add_argument("--page", type=Path, help="a page of the documentation whose tables are replaced")
    arguments = parser.parse_args()
    where, measurements = machine(), []
    for measurement in measure(arguments.rounds):
        print(show(measurement), flush=True)
        measurements.append(measurement)
    missing: dict[str, str] = {}
    if not torch.cuda.is_available():
        missing["Tensors of a GPU"] = "there is none here; the figures are of tensors on the CPU"
    options: dict[str, Any] = {"rounds": arguments.rounds}
    write(arguments.json, measurements, missing, options)
    if arguments.page:
        put_into(arguments.page, "benchmarks.vllm_ttft.device", tables(measurements, where, missing))
    return 0


if __name__ == "__main__":
    sys.exit(main())
