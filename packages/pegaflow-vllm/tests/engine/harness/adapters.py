"""LoRA adapters with random weights."""

from __future__ import annotations

import json
from pathlib import Path


def make_adapter(directory: Path, model: str, seed: int) -> str:
    """Write an adapter of rank 8 for the queries of every layer; the same seed gives the same weights."""
    import torch
    from safetensors.torch import save_file

    shape = json.loads((Path(model) / "config.json").read_text())
    hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(layers):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = torch.randn(8, hidden, generator=draw)
        tensors[f"{name}.lora_B.weight"] = torch.randn(hidden, 8, generator=draw)
    directory.mkdir()
    save_file(tensors, directory / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
    (directory / "adapter_config.json").write_text(json.dumps(settings | {"task_type": "CAUSAL_LM"}))
    return str(directory)
