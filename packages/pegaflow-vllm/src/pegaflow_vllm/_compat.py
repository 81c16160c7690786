"""Everything that depends on the version of vLLM.

The other modules take vLLM's names from here. What is proven on an engine, and what was only compared with the base
class, stands in `PROVEN` and `READ`.
"""

import logging
from typing import Any

from pegaflow_vllm._errors import UnsupportedEngineError

try:
    from vllm import __version__ as VLLM_VERSION  # noqa: N812 - a constant here
    from vllm.distributed.kv_events import BlockStored, KVCacheEvent
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
    from vllm.v1.metrics.cache_hit_source import CacheHitSource
except ImportError as error:
    raise ImportError(
        f"PegaKVConnector runs inside vLLM 0.32 or 0.33, of which {error.name or 'a part'} cannot be imported; "
        'install one: pip install "vllm>=0.32,<0.34"'
    ) from error

__all__ = [
    "PROVEN",
    "READ",
    "VLLM_VERSION",
    "BlockStored",
    "CacheHitSource",
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
    "check_version",
    "recompute_failed_loads",
    "register_connector",
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


def window_tokens(group: Any) -> int | None:
    """Give how many of the last tokens the layers of a group read; None for all of them.

    Raises:
        UnsupportedEngineError: The state of these layers is not made of blocks of tokens that anyone may read.
    """
    for spec in _specs(group.kv_cache_spec):
        kind = type(spec).__name__
        if kind not in _BLOCKS_OF_TOKENS or getattr(spec, "non_causal", False) or not group.enable_kv_transfer:
            raise UnsupportedEngineError(
                f"layers of the kind {kind}",
                "their state cannot be cut into blocks of tokens: run this model without the connector",
            )
    # A full-attention layer may have a window too, which the scheduler does not make use of.
    windows = [int(spec.sliding_window) for spec in _specs(group.kv_cache_spec) if type(spec).__name__ == _WINDOWED]
    return max(windows) if len(windows) == len(_specs(group.kv_cache_spec)) else None


_WINDOWED = "SlidingWindowSpec"
_BLOCKS_OF_TOKENS = {"FullAttentionSpec", "MLAAttentionSpec", _WINDOWED}


def _specs(spec: Any) -> list[Any]:
    """Give the specs of the layers of a group: some groups hold one for each layer."""
    each = getattr(spec, "kv_cache_specs", None)
    return list(each.values()) if isinstance(each, dict) else [spec]
