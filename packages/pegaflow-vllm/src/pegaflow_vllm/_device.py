"""Between vLLM's pages and the sidecar: what differs by where the pages lie."""

from collections.abc import Sequence
from typing import Any, Protocol

from pegaflow import BlockCache, BlockPages, Lease
from pegaflow_vllm._layout import GroupPages

Fence = Any
"""What a save has to wait for: a point in the work of a device, or nothing."""


class Pages(Protocol):
    """The pages of one group of layers. `load` and `save` run on threads of the connector, several at once."""

    computes_in_step: bool
    """Whether a step has computed what it scheduled when it is over; elsewhere the device is still at it."""

    def fence(self) -> Fence:
        """Give what was computed by now. Called on vLLM's thread."""
        ...

    def load(self, cache: BlockCache, lease: Lease, block_ids: Sequence[int | None]) -> list[int]:
        """Load leased blocks to pages, None for those not wanted; give the positions that failed, once all is done."""
        ...

    def save(self, cache: BlockCache, names: bytes, block_ids: Sequence[int], fence: Fence) -> list[int]:
        """Store pages, as they are at the fence; give the positions for which there was no room."""
        ...


class HostPages:
    """Pages in the memory of the CPU: they are copied straight to and from the arena of the sidecar."""

    computes_in_step = True

    def __init__(self, pages: GroupPages, num_blocks: int) -> None:
        self._layers = pages.layers
        is_dense = all(layer.is_contiguous() for layer in pages.layers)
        # Pages that lie between those of other layers are lent one by one.
        self._pages = BlockPages(pages.layers, num_blocks) if is_dense else None

    def fence(self) -> Fence:
        return None

    def load(self, cache: BlockCache, lease: Lease, block_ids: Sequence[int | None]) -> list[int]:
        try:
            failed = self._load(cache, lease, block_ids)
        except BaseException:
            self._clear(block_ids)
            raise
        self._clear([block_ids[position] for position in failed])
        return failed

    def _load(self, cache: BlockCache, lease: Lease, block_ids: Sequence[int | None]) -> list[int]:
        if self._pages is not None:
            return cache.load_into(lease, self._pages.at(block_ids))
        return cache.load_into(lease, [None if page is None else self._runs(page) for page in block_ids])

    def _clear(self, block_ids: Sequence[int | None]) -> None:
        """Leave no bytes of a block that failed: what may look like a NaN spoils attention, though it is masked."""
        for page in block_ids:
            for layer in self._layers if page is not None else ():
                layer[page].zero_()

    def save(self, cache: BlockCache, names: bytes, block_ids: Sequence[int], fence: Fence) -> list[int]:
        if self._pages is not None:
            return cache.store(names, self._pages.at(block_ids))
        return cache.store(names, [self._runs(page) for page in block_ids])

    def _runs(self, page: int) -> list[Any]:
        return [layer[page] for layer in self._layers]


def pages_on_device(pages: GroupPages, num_blocks: int) -> Pages:
    """Give the pages of a group, wherever they lie."""
    if pages.layers[0].device.type == "cpu":
        return HostPages(pages, num_blocks)
    from pegaflow_vllm._cuda import CudaPages

    return CudaPages(pages)
