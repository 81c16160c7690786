"""Everything that depends on the version of vLLM.

The other modules take vLLM's names from here. What is proven on an engine, and what was only compared with the base
class, stands in `PROVEN` and `READ`.
"""

import logging
from typing import Any

from pegaflow_vllm._errors import UnsupportedEngineError

try:
    import torch
    from prometheus_client import Counter, Histogram
    from vllm import __version__ as VLLM_VERSION  # noqa: N812 - a constant here
    from vllm.distributed.kv_events import MEDIUM_CPU, BlockStored, KVCacheEvent
    from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
    from vllm.distributed.kv_transfer.kv_connector.v1.base import (
        KVConnectorBase_V1,
        KVConnectorHandshakeMetadata,
        KVConnectorMetadata,
        KVConnectorRole,
        KVConnectorTransferResults,
        KVConnectorWorkerMetadata,
        SupportsHMA,
    )
    from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorPromMetrics, KVConnectorStats
    from vllm.platforms import current_platform
    from vllm.v1.metrics.cache_hit_source import CacheHitSource
except ImportError as error:
    raise ImportError(
        f"PegaKVConnector runs inside vLLM 0.32 or 0.33, of which {error.name or 'a part'} cannot be imported; "
        'install one: pip install "vllm>=0.32,<0.34"'
    ) from error

__all__ = [
    "MEDIUM_CPU",
    "PROVEN",
    "READ",
    "VLLM_VERSION",
    "BlockStored",
    "CacheHitSource",
    "Counter",
    "Histogram",
    "KVCacheEvent",
    "KVConnectorBase_V1",
    "KVConnectorHandshakeMetadata",
    "KVConnectorMetadata",
    "KVConnectorPromMetrics",
    "KVConnectorRole",
    "KVConnectorStats",
    "KVConnectorTransferResults",
    "KVConnectorWorkerMetadata",
    "SupportsHMA",
    "attention_backends",
    "check_topology",
    "check_version",
    "device_kind",
    "recompute_failed_loads",
    "register_connector",
    "torch_version",
    "window_tokens",
]

PROVEN = ("0.32",)
"""Versions on whose engine the connector is tested."""

READ = ("0.33",)
"""Versions whose base class and scheduler were read and compared; there is no CPU build to run them on yet."""

_log = logging.getLogger("vllm.pegaflow")


def check_version(*, allow_untested: bool) -> None:
    """Refuse a version of vLLM that this release does not know.

    Raises:
        UnsupportedEngineError: Unless `allow_untested`, in which case it is logged.
    """
    if VLLM_VERSION.startswith(tuple(f"{version}." for version in PROVEN + READ)):
        return
    error = UnsupportedEngineError(
        f"vLLM {VLLM_VERSION}",
        f"use {' or '.join(PROVEN + READ)}, another release of pegaflow-vllm, or at your own risk the setting "
        '{"allow_untested_vllm": true}',
    )
    if not allow_untested:
        raise error
    _log.warning("%s", error)


def check_topology(vllm_config: Any) -> None:
    """Refuse ranks whose blocks are no blocks of consecutive tokens, or that cannot share memory.

    Raises:
        UnsupportedEngineError: Naming what the engine would have to do without.
    """
    parallel = vllm_config.parallel_config
    for name in ("decode_context_parallel_size", "prefill_context_parallel_size"):
        if getattr(parallel, name, 1) > 1:
            raise UnsupportedEngineError(f"{name}={getattr(parallel, name)}", f"set {name} to 1")
    if parallel.nnodes > 1:
        raise UnsupportedEngineError("ranks on several machines", "give each machine an engine of its own")


def attention_backends(vllm_config: Any) -> dict[str, str]:
    """Give what computes each layer, as it decides what the bytes of a page mean."""
    layers = vllm_config.compilation_config.static_forward_context
    found: dict[str, Any] = {name: getattr(layer, "attn_backend", None) for name, layer in layers.items()}
    return {name: str(backend.get_name()) for name, backend in found.items() if backend is not None}


def register_connector(name: str, module: str) -> None:
    """Make a connector known to vLLM by its name. Again: does nothing."""
    if name not in KVConnectorFactory._registry:
        KVConnectorFactory.register_connector(name, module, name)


def recompute_failed_loads(kv_transfer_config: Any) -> None:
    """Have the scheduler compute again what could not be loaded.

    It reads the policy once the connector is made, and vLLM's default would fail the request for a cache that is only
    there to make it faster.
    """
    kv_transfer_config.kv_load_failure_policy = "recompute"


def device_kind() -> str:
    """Give what vLLM computes on, such as "cpu" or "cuda"."""
    return str(current_platform.device_type)


def torch_version() -> str:
    """Give the version of torch, whose random numbers make weights that are loaded from nowhere."""
    return str(torch.__version__)


def window_tokens(group: Any) -> int | None:
    """Give how many of the last tokens the layers of a group read; None for all of them.

    Raises:
        UnsupportedEngineError: The state of these layers is not made of blocks of tokens that anyone may read.
    """
    for spec in _specs(group.kv_cache_spec):
        kind = type(spec).__name__
        if kind not in _BLOCKS_OF_TOKENS or _is_private(spec, group):
            raise UnsupportedEngineError(
                f"layers of the kind {kind}",
                "their state cannot be cut into blocks of tokens: run this model without the connector",
            )
    # A full-attention layer may have a window too, which the scheduler does not make use of.
    windows = [
        spec.sliding_window + spec.extra_retained_tokens
        for spec in _specs(group.kv_cache_spec)
        if type(spec).__name__ == _WINDOWED
    ]
    return int(max(windows)) if len(windows) == len(_specs(group.kv_cache_spec)) else None


def _is_private(spec: Any, group: Any) -> bool:
    """Say whether the blocks of a group hold more than the tokens before them, or lie where no other group's do."""
    return getattr(spec, "non_causal", False) or not group.enable_kv_transfer or group.host_resident


_WINDOWED = "SlidingWindowSpec"
_BLOCKS_OF_TOKENS = {"FullAttentionSpec", "MLAAttentionSpec", _WINDOWED}


def _specs(spec: Any) -> list[Any]:
    """Give the specs of the layers of a group: some groups hold one for each layer."""
    each = getattr(spec, "kv_cache_specs", None)
    return list(each.values()) if isinstance(each, dict) else [spec]
