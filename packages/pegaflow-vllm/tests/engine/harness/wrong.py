"""A connector that is wrong: it shows that the comparison of tokens finds that out."""

from __future__ import annotations

from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.example_connector import ExampleConnector


class ForgetfulConnector(ExampleConnector):  # type: ignore[misc]
    """Loads as vLLM's example does, then clears one block of what it loaded."""

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Load, and clear the first block of each request in every layer."""
        super().start_load_kv(forward_context, **kwargs)
        loads = [request for request in self._get_connector_metadata().requests if not request.is_store]
        for request in loads:
            block = int(request.slot_mapping[0]) // self._block_size
            for layer in forward_context.no_compile_layers.values():
                cache = getattr(layer, "kv_cache", None)
                if cache is not None:
                    cache[block] = 0
