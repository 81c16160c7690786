"""The engines that are compared, and the sidecars that some of them use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pegaflow
from benchmarks.vllm_ttft._engine import BLOCK_TOKENS, Contender
from pegaflow_vllm.testkit import ModelShape, make_model

BLOCKS = 540
"""Of KV cache in each engine: two prompts of 8k tokens, and fewer than the sessions of the agents take."""

MOST_TOKENS = 8448


def shape(hidden: int) -> ModelShape:
    """Give a Llama of 12 layers whose KV cache takes 24 KiB a token at any width."""
    return ModelShape(
        layers=12, hidden=hidden, heads=hidden // 64, kv_heads=4, intermediate=hidden * 11 // 4, max_tokens=MOST_TOKENS
    )


class Sidecar:
    """A sidecar of the benchmark's own."""

    def __init__(self, directory: Path, memory: str, disk: str) -> None:
        directory.mkdir()
        self._socket = directory / "sidecar.sock"
        command = [sys.executable, "-m", "pegaflow", "serve", "--socket", str(self._socket), "--memory", memory]
        command += ["--disk", f"{directory / 'blocks'}:{disk}", "--on-full", "evict"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def connector(self) -> dict[str, Any]:
        """Give vLLM's arguments for an engine that uses it."""
        return {
            "kv_connector": "PegaKVConnector",
            "kv_connector_module_path": "pegaflow_vllm",
            "kv_role": "kv_both",
            "kv_connector_extra_config": {"socket": str(self._socket)},
        }

    def disk_reads(self) -> int:
        """Count the blocks that were read from the disk."""
        with pegaflow.connect(self._socket) as engine:
            return engine.stats()["disk_reads"]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def arguments(model: str | None, hidden: int, directory: Path) -> dict[str, Any]:
    """Give what every engine is started with: the model of the benchmark, or a real configuration."""
    import torch

    on_device = torch.cuda.is_available()
    shared = {"enforce_eager": True, "seed": 0, "load_format": "dummy", "max_num_seqs": 32}
    if model is not None:
        return shared | {"model": model, "max_model_len": MOST_TOKENS, "max_num_batched_tokens": MOST_TOKENS}
    return (
        shared
        | {
            "model": str(make_model(directory / "model", shape(hidden), weights="dummy")),
            "dtype": "bfloat16" if on_device else "float32",
            "block_size": BLOCK_TOKENS,
            "num_gpu_blocks_override": BLOCKS,
            # vLLM's example can do nothing with prompts that are computed in parts.
            "max_num_batched_tokens": MOST_TOKENS,
            "max_model_len": MOST_TOKENS,
        }
        | ({"gpu_memory_utilization": 0.2} if on_device else {})
    )


@contextmanager
def contenders(
    directory: Path, model: str | None, hidden: int
) -> Iterator[tuple[dict[str, Contender], dict[str, Sidecar]]]:
    """Start one engine of each kind; on a GPU also one with vLLM's own offloading."""
    import torch

    shared = arguments(model, hidden, directory)
    with ExitStack() as stack:
        sidecars = {
            "pegaflow": Sidecar(directory / "large", "3GiB", "8GiB"),
            # Its memory holds one prompt of 8k tokens and no second: of three in turn, each comes from the disk.
            "pegaflow, disk": Sidecar(directory / "small", "256MiB", "8GiB"),
        }
        for sidecar in sidecars.values():
            stack.callback(sidecar.close)
        example = {"shared_storage_path": str(directory / "example")}
        connectors: dict[str, dict[str, Any] | None] = {
            "vLLM": None,
            **{name: sidecar.connector() for name, sidecar in sidecars.items()},
            "ExampleConnector": {
                "kv_connector": "ExampleConnector",
                "kv_role": "kv_both",
                "kv_connector_extra_config": example,
            },
        }
        if torch.cuda.is_available():
            offload = {"kv_connector": "OffloadingConnector", "kv_role": "kv_both"}
            connectors["OffloadingConnector"] = offload | {"kv_connector_extra_config": {"cpu_bytes_to_use": 4 << 30}}
        engines = {name: stack.enter_context(Contender(name, shared, one)) for name, one in connectors.items()}
        yield engines, sidecars


def another(name: str, directory: Path, model: str | None, hidden: int, sidecar: Sidecar) -> Contender:
    """Start an engine again, that uses a sidecar which others have filled."""
    return Contender(name, arguments(model, hidden, directory), sidecar.connector())
