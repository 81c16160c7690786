"""The judges are judged first: without a connector, with vLLM's own example, and with one that is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.judgement import Verdict, judge
from harness.process import Engine, EngineError
from harness.workload import BLOCK_TOKENS, Ask, mixed, random_tokens

pytestmark = pytest.mark.timeout(300)

Start = Callable[..., Engine]


def example(storage: Path, name: str = "ExampleConnector", **more: object) -> dict[str, object]:
    extra = {"shared_storage_path": str(storage)}
    return {"kv_connector": name, "kv_role": "kv_both", "kv_connector_extra_config": extra, **more}


def test_two_engines_without_a_connector_say_the_same(start: Start, scale: Callable[[int, int], int]) -> None:
    asks = mixed(scale(60, 500), seed=1)
    roomy = start(blocks=400).run(asks, concurrency=4)

    tight = start(blocks=26).run(asks, concurrency=24)

    verdict = judge(roomy.answers, tight.answers)
    print(f"{verdict.compared} compared, {len(verdict.ties)} ties, {tight.counts}")
    assert not verdict.wrong
    assert verdict.tie_share <= 0.01
    assert tight.counts["preemptions"] > 0
    assert tight.counts["most_running"] >= 4
    assert tight.is_clean


def whole_prompts() -> list[Ask]:
    """What vLLM's example can do: it mistakes prompts that are chunked, or one token longer than their blocks."""
    draw = random.Random(2)
    lengths = [blocks * BLOCK_TOKENS + 5 for blocks in (1, 2, 3, 5, 8)]
    return [Ask(name=f"ask-{n}", tokens=random_tokens(draw, length), max_tokens=12) for n, length in enumerate(lengths)]


@pytest.mark.parametrize(("name", "module", "wrong"), [("Example", None, 0), ("Forgetful", "harness.wrong", 5)])
def test_a_connector_that_loses_a_block_is_found_out(
    start: Start, tmp_path: Path, name: str, module: str | None, wrong: int
) -> None:
    options = {"blocks": 400, "prefill_tokens": 1024, "more": {"enable_prefix_caching": False}}
    plain = start(**options).run(whole_prompts())
    first = start(**options, connector=example(tmp_path)).run(whole_prompts())
    connector = example(tmp_path, f"{name}Connector", kv_connector_module_path=module)

    again = start(**options, connector=connector).run(whole_prompts())

    assert judge(plain.answers, first.answers) == Verdict(5, (), ())
    assert again.counts["connector_hits"] == sum(BLOCK_TOKENS * blocks for blocks in (1, 2, 3, 5, 8))
    assert len(judge(plain.answers, again.answers).wrong) == wrong


def test_an_engine_that_cannot_start_says_why(start: Start) -> None:
    with pytest.raises(EngineError, match="Nonexistent"):
        start(connector={"kv_connector": "NonexistentConnector", "kv_role": "kv_both"})
