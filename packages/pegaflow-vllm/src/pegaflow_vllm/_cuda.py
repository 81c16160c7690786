"""Pages in the memory of a CUDA device."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from pegaflow import BlockCache, BlockPages, Lease
from pegaflow_vllm._chain import HASH_BYTES
from pegaflow_vllm._errors import UnsupportedEngineError
from pegaflow_vllm._layout import GroupPages

_SLOT_BYTES = 64 << 20
"""What one transfer has under way at once: large enough that launching copies does not count."""

_SLOTS = 4


@dataclass
class _Slot:
    """Room on both sides for some blocks, and the stream on which they cross."""

    host: Any
    device: Any
    pages: BlockPages
    stream: Any
    crossed: Any


class CudaPages:
    """Pages in the memory of a CUDA device.

    Blocks pass through pinned memory, registered once: the copy between it and the arena is the pass over the bytes
    that their checksum needs anyway, so nothing unverified reaches the device. They cross in one piece on a stream of
    their own, and are spread over the layers there.
    """

    computes_in_step = False

    def __init__(self, pages: GroupPages) -> None:
        self._layers = pages.layers
        self._target = pages.layers[0].device
        if self._target.type != "cuda":
            raise UnsupportedEngineError(f"a cache on {self._target}", "use a CUDA device or the CPU")
        self._widths = [layer.shape[1] for layer in pages.layers]
        self._blocks = max(1, _SLOT_BYTES // pages.block_bytes)
        self._free = [self._slot(pages.block_bytes) for _ in range(_SLOTS)]
        self._returned = threading.Condition()

    def fence(self) -> Any:
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._target))
        return event

    def load(self, cache: BlockCache, lease: Lease, block_ids: Sequence[int | None]) -> list[int]:
        wanted = [position for position, page in enumerate(block_ids) if page is not None]
        failed: list[int] = []
        for start in range(0, len(wanted), self._blocks):
            part = wanted[start : start + self._blocks]
            places: list[int | None] = [None] * len(block_ids)
            for place, position in enumerate(part):
                places[position] = place
            with self._taken() as slot:
                bad = set(cache.load_into(lease, slot.pages.at(places)))
                good = [(places[position], block_ids[position]) for position in part if position not in bad]
                self._spread(slot, good)
            failed += sorted(bad)
        return failed

    def save(self, cache: BlockCache, names: bytes, block_ids: Sequence[int], fence: Any) -> list[int]:
        refused: list[int] = []
        for start in range(0, len(block_ids), self._blocks):
            part = block_ids[start : start + self._blocks]
            with self._taken() as slot:
                self._gather(slot, part, fence)
                held = names[start * HASH_BYTES : (start + len(part)) * HASH_BYTES]
                refused += [start + position for position in cache.store(held, slot.pages.at(range(len(part))))]
        return refused

    def _slot(self, block_bytes: int) -> _Slot:
        host = torch.empty((self._blocks, block_bytes), dtype=torch.uint8, pin_memory=True)
        device = torch.empty_like(host, device=self._target, pin_memory=False)
        return _Slot(
            host, device, BlockPages([host], self._blocks), torch.cuda.Stream(self._target), torch.cuda.Event()
        )

    @contextmanager
    def _taken(self) -> Iterator[_Slot]:
        with self._returned:
            self._returned.wait_for(lambda: self._free)
            slot = self._free.pop()
        try:
            with torch.cuda.device(self._target), torch.cuda.stream(slot.stream):
                yield slot
        finally:
            # Also after an error nothing may cross while the next one writes.
            slot.crossed.record(slot.stream)
            slot.crossed.synchronize()
            with self._returned:
                self._free.append(slot)
                self._returned.notify()

    def _spread(self, slot: _Slot, moved: Sequence[tuple[int | None, int | None]]) -> None:
        if not moved:
            return
        last = max(place for place, _ in moved if place is not None) + 1
        slot.device[:last].copy_(slot.host[:last], non_blocking=True)
        places = torch.tensor([place for place, _ in moved], device=self._target)
        pages = torch.tensor([page for _, page in moved], device=self._target)
        for layer, piece in zip(self._layers, slot.device.split(self._widths, dim=1), strict=True):
            layer.index_copy_(0, pages, piece.index_select(0, places))

    def _gather(self, slot: _Slot, block_ids: Sequence[int], fence: Any) -> None:
        slot.stream.wait_event(fence)
        pages = torch.tensor(list(block_ids), device=self._target)
        for layer, piece in zip(self._layers, slot.device.split(self._widths, dim=1), strict=True):
            piece[: len(block_ids)].copy_(layer.index_select(0, pages))
        slot.host[: len(block_ids)].copy_(slot.device[: len(block_ids)], non_blocking=True)
        slot.crossed.record(slot.stream)
        slot.crossed.synchronize()
