"""What an engine's KV blocks depend on besides the tokens."""

import hashlib
import json
from typing import Any

from pegaflow_vllm import _chain
from pegaflow_vllm._chain import Chain, Inset
from pegaflow_vllm._compat import VLLM_VERSION
from pegaflow_vllm._settings import Settings

_NAMES_ONLY = ("_name_or_path", "transformers_version")
"""Keys of a model's configuration that say where it is and who wrote it, and nothing about its KV."""


def of_engine(vllm_config: Any, kv_cache_config: Any, settings: Settings) -> bytes:
    """Give a hash over everything that shapes the blocks of an engine, for all of its ranks."""
    facts = _facts(vllm_config, kv_cache_config, settings)
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).digest()


def _facts(vllm_config: Any, kv_cache_config: Any, settings: Settings) -> dict[str, Any]:
    model, cache, parallel = vllm_config.model_config, vllm_config.cache_config, vllm_config.parallel_config
    architecture = {name: item for name, item in model.hf_config.to_dict().items() if name not in _NAMES_ONLY}
    return {
        "vllm": VLLM_VERSION,
        "tenant": settings.tenant,
        "architecture": architecture,
        "weights": settings.model_identity or f"{vllm_config.load_config.load_format} {model.seed}",
        "dtype": str(model.dtype),
        "quantization": model.quantization,
        "cache_dtype": cache.cache_dtype,
        "block_tokens": cache.block_size,
        "layout": kv_cache_config.kv_cache_layout,
        "ranks": [parallel.tensor_parallel_size, parallel.pipeline_parallel_size],
    }


def chain(request: Any, identity: bytes, block_tokens: int) -> Chain | None:
    """Begin the names of a request's blocks; None if nobody else may use them."""
    if request.prompt_embeds is not None or request.resumable or request.pooling_params is not None:
        return None
    if request.lora_request is not None:
        return None
    insets = [
        Inset(feature.identifier, feature.mm_position.offset, feature.mm_position.length)
        for feature in request.mm_features
    ]
    return Chain(_chain.root(identity, salt=request.cache_salt or ""), block_tokens, insets)
