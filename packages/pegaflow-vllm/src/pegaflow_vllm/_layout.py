"""How vLLM's KV cache lies in memory, and what of that a stored block depends on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pegaflow_vllm._errors import UnsupportedEngineError


@dataclass(frozen=True)
class GroupPages:
    """The pages of the layers that share one block table."""

    layers: tuple[Any, ...]
    """For each layer a tensor of its pages: one row of bytes for each block."""

    block_bytes: int
    """The size of a block: a page of each layer."""

    digest: str
    """Stands for names, shapes, strides and element types: what tells the bytes of one layout from those of another."""


def group_pages(
    kv_caches: Mapping[str, Any], groups: Sequence[Sequence[str]], num_blocks: int, backends: Mapping[str, str]
) -> list[GroupPages]:
    """Find the pages of each group of layers, which these backends compute.

    Raises:
        UnsupportedEngineError: A layer whose page is not one run of bytes.
    """
    return [
        _pages({name: kv_caches[name] for name in names if name in kv_caches}, num_blocks, backends) for names in groups
    ]


def _pages(layers: Mapping[str, Any], num_blocks: int, backends: Mapping[str, str]) -> GroupPages:
    rows, described, seen = [], [], set()
    for name in sorted(layers):
        tensor = layers[name]
        shape, strides = list(tensor.shape[1:]), list(tensor.stride()[1:])
        described.append([name, backends.get(name), shape, strides, str(tensor.dtype)])
        if tensor.data_ptr() in seen:
            # A layer that reads the cache of another one.
            continue
        seen.add(tensor.data_ptr())
        rows.append(_rows(name, tensor, num_blocks))
    digest = hashlib.sha256(json.dumps(described).encode()).hexdigest()
    return GroupPages(tuple(rows), sum(row.shape[1] for row in rows), digest)


def _rows(name: str, tensor: Any, num_blocks: int) -> Any:
    """Give the pages of a layer as a matrix of bytes, wherever its dimensions lie within a page."""
    import torch

    inner = sorted(zip(tensor.stride()[1:], tensor.shape[1:], strict=True))
    elements = 1
    for stride, size in inner:
        if size > 1 and stride != elements:
            raise UnsupportedEngineError(
                f"the cache of layer {name!r}, whose pages of shape {tuple(tensor.shape[1:])} have gaps",
                "another --attention-backend lays them out without",
            )
        elements *= size
    if tensor.shape[0] != num_blocks:
        raise UnsupportedEngineError(
            f"the cache of layer {name!r} with {tensor.shape[0]} pages for {num_blocks} blocks",
            "run this model without the connector",
        )
    stride = max(tensor.stride(0), elements) if num_blocks == 1 else tensor.stride(0)
    flat = torch.as_strided(tensor, (num_blocks, elements), (stride, 1), tensor.storage_offset())
    return flat.view(torch.uint8)
