"""A small model with random weights, to try an engine with when no real model is at hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Literal

__all__ = ["ModelShape", "make_model"]

_SPECIAL = ("<|begin|>", "<|end|>", "<|turn|>", "<|over|>")
_VOCABULARY = 256 + len(_SPECIAL)

_CHAT_TEMPLATE = (
    "{{ '<|begin|>' }}{% for message in messages %}"
    "{{ '<|turn|>' + message['role'] + '\n' + message['content'] + '<|over|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% endif %}"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelShape:
    """How large a Llama is. The default takes 3 MB and a few milliseconds a token on a CPU."""

    layers: int = 4
    hidden: int = 128
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 256
    max_tokens: int = 16384
    """The longest prompt and answer together."""
    sliding_window: int | None = None
    """With one, every second layer attends to so many tokens only: the model has two groups of KV cache."""

    @property
    def kv_bytes_per_token(self) -> int:
        """What a token takes in the KV cache as float32."""
        return self.layers * 2 * self.kv_heads * (self.hidden // self.heads) * 4


def make_model(
    directory: Path,
    shape: ModelShape | None = None,
    *,
    weights: Literal["random", "dummy"] = "random",
    seed: int = 0,
) -> Path:
    """Write a Llama with random weights, a tokenizer of single bytes and a chat template; give the directory.

    The gaps between its logits are wide, so that greedy decoding does not hang on how a sum was rounded, and its
    attention weighs as much as the rest, so that a wrong block of KV cache changes what it says.

    Args:
        directory: Where the files go; made if it is not there.
        shape: How large it is.
        weights: `dummy` writes none: start the engine with `load_format="dummy"`, which has narrow gaps.
        seed: Two models of one seed are equal.
    """
    shape = shape or ModelShape()
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": _config(shape),
        "tokenizer.json": _tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": _SPECIAL[0],
            "eos_token": _SPECIAL[1],
            "model_max_length": shape.max_tokens,
            "chat_template": _CHAT_TEMPLATE,
        },
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    if weights == "random":
        _write_weights(directory / "model.safetensors", shape, seed)
    return directory


def _config(shape: ModelShape) -> dict[str, object]:
    config: dict[str, object] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.hidden // shape.heads,
        "vocab_size": _VOCABULARY,
        "max_position_embeddings": shape.max_tokens,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": 256,
        "eos_token_id": 257,
        "torch_dtype": "float32",
    }
    if shape.sliding_window is not None:
        kinds = ("full_attention", "sliding_attention")
        config["sliding_window"] = shape.sliding_window
        config["layer_types"] = [kinds[layer % 2] for layer in range(shape.layers)]
    return config


def _tokenizer() -> dict[str, object]:
    vocabulary = {character: number for number, character in enumerate(_printable_bytes())}
    vocabulary |= {name: 256 + number for number, name in enumerate(_SPECIAL)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": 256 + number, "content": name, **flags} for number, name in enumerate(_SPECIAL)],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": level,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def _printable_bytes() -> list[str]:
    """Give the character that stands for each byte in a byte-level vocabulary: itself where it can be printed."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    stand_ins = iter(range(0x100, 0x200))
    return [chr(byte if byte in shown else next(stand_ins)) for byte in range(256)]


def _write_weights(path: Path, shape: ModelShape, seed: int) -> None:
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int, columns: int, deviation: float) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) * deviation

    hidden, intermediate = shape.hidden, shape.intermediate
    keys = shape.kv_heads * (hidden // shape.heads)
    unit = 1 / math.sqrt(hidden)
    tensors = {
        "model.embed_tokens.weight": normal(_VOCABULARY, hidden, 1),
        "model.norm.weight": torch.ones(hidden),
        "lm_head.weight": normal(_VOCABULARY, hidden, 1),
    }
    for layer in range(shape.layers):
        name = f"model.layers.{layer}."
        tensors |= {
            # Queries and keys twice as large as usual: attention that picks out few tokens.
            f"{name}self_attn.q_proj.weight": normal(hidden, hidden, 2 * unit),
            f"{name}self_attn.k_proj.weight": normal(keys, hidden, 2 * unit),
            f"{name}self_attn.v_proj.weight": normal(keys, hidden, unit),
            f"{name}self_attn.o_proj.weight": normal(hidden, hidden, unit),
            f"{name}mlp.gate_proj.weight": normal(intermediate, hidden, unit),
            f"{name}mlp.up_proj.weight": normal(intermediate, hidden, unit),
            f"{name}mlp.down_proj.weight": normal(hidden, intermediate, 1 / math.sqrt(intermediate)),
            f"{name}input_layernorm.weight": torch.ones(hidden),
            f"{name}post_attention_layernorm.weight": torch.ones(hidden),
        }
    save_file(tensors, str(path))
