"""Roles, hints, adapters, ranks and settings on a real engine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from harness.judgement import judge
from harness.process import Engine, EngineError
from harness.served import ServedEngine
from harness.sidecar import Sidecar
from harness.workload import Answer, Ask, mixed

pytestmark = pytest.mark.timeout(180)

Start = Callable[..., Engine]
Plain = Callable[[Sequence[Ask]], dict[str, Answer]]
ASKS = mixed(12, seed=51, aborts=False)
LONG = max(ASKS, key=lambda ask: len(ask.tokens))
BLOCKS = (len(LONG.tokens) - 1) // 32


def hinted(ask: Ask, **hints: object) -> Ask:
    return dataclasses.replace(ask, params={"pegaflow": hints})


def test_a_decode_engine_waits_for_what_a_prefill_engine_computes(start: Start, plain: Plain, sidecar: Sidecar) -> None:
    prefill = start(blocks=400, connector=sidecar.connector() | {"kv_role": "kv_producer"})
    decode = start(blocks=400, connector=sidecar.connector(handoff_timeout_s=60) | {"kv_role": "kv_consumer"})
    decode.begin(ServedEngine.run, [hinted(LONG, await_blocks=BLOCKS)])

    given = prefill.run([dataclasses.replace(LONG, max_tokens=1)])
    taken = decode.end()

    assert given.counts["connector_hits"] == 0
    assert taken.counts["connector_hits"] == BLOCKS * 32
    assert not judge(plain(ASKS), taken.answers).wrong


def test_blocks_that_were_announced_and_never_come_are_computed(start: Start, plain: Plain, sidecar: Sidecar) -> None:
    decode = start(blocks=400, connector=sidecar.connector(handoff_timeout_s=0.3))

    report = decode.run([hinted(LONG, await_blocks=1_000)])

    assert report.counts["connector_hits"] == 0
    assert not judge(plain(ASKS), report.answers).wrong


def test_what_is_pinned_stays_leased_until_the_session_is_over(start: Start, sidecar: Sidecar) -> None:
    engine = start(blocks=400, connector=sidecar.connector())
    engine.run([hinted(LONG, pin_s=100, next_use_s=5, prefetch=True)])
    pinned = sidecar.leases()

    engine.run([hinted(LONG, session_over=True)])

    assert pinned >= BLOCKS
    assert sidecar.leases() == 0


@pytest.mark.parametrize(
    "hints", [{"pin_s": 1e308}, {"pin_s": -1, "next_use_s": "soon"}, {"await_blocks": -5, "prefetch": 7, "new": [1]}]
)
def test_hostile_hints_change_no_answer(start: Start, plain: Plain, sidecar: Sidecar, hints: dict[str, Any]) -> None:
    engine = start(blocks=400, connector=sidecar.connector(max_pin_s=0.1))

    report = engine.run([hinted(ask, **hints) for ask in ASKS])

    assert not judge(plain(ASKS), report.answers).wrong
    assert report.is_clean


@pytest.mark.timeout(600)
def test_two_ranks_hit_what_both_have(start: Start, sidecar: Sidecar) -> None:
    ranks: dict[str, Any] = {
        "more": {"tensor_parallel_size": 2, "distributed_executor_backend": "mp"},
        "environment": {"VLLM_CPU_OMP_THREADS_BIND": "0|1"},
    }
    first = start(blocks=400, connector=sidecar.connector(), **ranks).run([LONG])
    second = start(blocks=400, connector=sidecar.connector(), **ranks).run([LONG])

    assert second.counts["connector_hits"] == BLOCKS * 32
    assert not judge(first.answers, second.answers).wrong
    assert (second.is_clean, sidecar.leases()) == (True, 0)


def ask_with_adapters(engine: ServedEngine, adapters: list[tuple[str, int]]) -> list[tuple[int, int]]:
    """Ask the same with one adapter after the other; give the tokens hit and the first token said."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    told = []
    for number, (path, adapter) in enumerate(adapters):
        engine.counts.clear()
        request = LoRARequest(f"name {adapter}", adapter, path)
        params = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True, detokenize=False)
        engine.engine.add_request(str(number), {"prompt_token_ids": list(LONG.tokens)}, params, lora_request=request)
        said = [
            output for _ in range(500) if engine.engine.has_unfinished_requests() for output in engine.engine.step()
        ]
        engine.settle()
        told.append((engine.counts["connector_hits"], said[-1].outputs[0].token_ids[0]))
    return told


def make_adapter(directory: Path, model: str, seed: int) -> str:
    """Write an adapter with random weights."""
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


def test_adapters_share_blocks_by_their_content_and_not_by_their_name(
    start: Start, sidecar: Sidecar, model: str, tmp_path: Path
) -> None:
    one, two, same = (make_adapter(tmp_path / name, model, seed) for name, seed in (("a", 1), ("b", 2), ("c", 1)))
    more = {"enable_lora": True, "max_loras": 1, "max_lora_rank": 8}
    engine = start(blocks=400, connector=sidecar.connector(), more=more)

    told = engine.call(ask_with_adapters, [(one, 1), (two, 2), (same, 3)])

    assert [hits for hits, _ in told] == [0, 0, BLOCKS * 32]
    assert told[0] != told[1]
    assert told[0][1] == told[2][1]


@pytest.mark.parametrize(
    ("extra", "said"),
    [({"break_evn": 1}, "did you mean 'break_even'"), ({"lease_s": -1}, "number of seconds above 0, not -1")],
)
def test_a_setting_that_cannot_be_meant_is_named_at_start(
    start: Start, sidecar: Sidecar, extra: dict[str, object], said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        start(blocks=100, connector=sidecar.connector(**extra))
