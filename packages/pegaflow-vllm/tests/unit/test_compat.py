"""What cannot be served is named at start, with what to do instead."""

from types import SimpleNamespace
from typing import Any

import pytest

from pegaflow_vllm import UnsupportedEngineError, _compat


def group(kind: str, *, private: bool = False, **more: Any) -> SimpleNamespace:
    spec = type(kind, (), {"extra_retained_tokens": 0, **more})()
    return SimpleNamespace(kv_cache_spec=spec, enable_kv_transfer=not private, host_resident=False)


def config(*, nodes: int = 1, context: int = 1) -> SimpleNamespace:
    return SimpleNamespace(parallel_config=SimpleNamespace(nnodes=nodes, decode_context_parallel_size=context))


@pytest.mark.parametrize("version", ["0.31.2", "0.34.0", "1.0.0", "0.320.0"])
def test_another_version_is_named_unless_it_is_allowed(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(_compat, "VLLM_VERSION", version)
    with pytest.raises(UnsupportedEngineError, match=f"vLLM {version}.*0.32 or 0.33"):
        _compat.check_version(allow_untested=False)
    _compat.check_version(allow_untested=True)


@pytest.mark.parametrize("version", ["0.32.0", "0.32.1+cpu", "0.33.0"])
def test_known_versions_are_served(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(_compat, "VLLM_VERSION", version)
    _compat.check_version(allow_untested=False)


@pytest.mark.parametrize(
    ("served", "named"),
    [
        (config(nodes=2), "several machines"),
        (config(context=2), "decode_context_parallel_size=2"),
    ],
)
def test_ranks_that_cannot_share_blocks_are_refused(served: SimpleNamespace, named: str) -> None:
    with pytest.raises(UnsupportedEngineError, match=named):
        _compat.check_topology(served)


def test_layers_are_taken_as_far_as_their_windows_reach() -> None:
    assert _compat.window_tokens(group("FullAttentionSpec", sliding_window=64)) is None
    assert _compat.window_tokens(group("SlidingWindowSpec", sliding_window=64, extra_retained_tokens=2)) == 66


@pytest.mark.parametrize(
    "refused",
    [group("MambaSpec"), group("CrossAttentionSpec"), group("FullAttentionSpec", private=True)],
)
def test_layers_whose_state_is_no_row_of_blocks_are_refused(refused: SimpleNamespace) -> None:
    with pytest.raises(UnsupportedEngineError, match="layers of the kind"):
        _compat.window_tokens(refused)
