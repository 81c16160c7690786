"""vLLM's KV events for blocks that reached the sidecar."""

from collections.abc import Sequence
from dataclasses import dataclass

from pegaflow_vllm._chain import HASH_BYTES
from pegaflow_vllm._compat import MEDIUM_CPU, BlockStored, KVCacheEvent


@dataclass(frozen=True)
class Saved:
    """Blocks that were handed to the workers, and all that is told of them."""

    names: bytes
    parent: bytes | None
    tokens: Sequence[int]
    adapter_id: int | None
    adapter_name: str | None
    session_id: str | None


def stored(saved: Saved, block_tokens: int) -> KVCacheEvent:
    """Tell that blocks are stored. There is no event for their end: the sidecar evicts for all engines together."""
    names = [saved.names[at : at + HASH_BYTES] for at in range(0, len(saved.names), HASH_BYTES)]
    return BlockStored(
        block_hashes=names,
        parent_block_hash=saved.parent,
        token_ids=list(saved.tokens),
        block_size=block_tokens,
        lora_id=saved.adapter_id,
        medium=MEDIUM_CPU,
        lora_name=saved.adapter_name,
        session_id=saved.session_id,
    )
