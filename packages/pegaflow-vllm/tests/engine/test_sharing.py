"""Every engine with the same model may use the blocks of every other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from harness.judgement import judge
from harness.process import Engine
from harness.served import ServedEngine
from harness.sidecar import Sidecar
from harness.workload import Answer, Ask, mixed

from pegaflow_vllm.testkit import make_model

pytestmark = pytest.mark.timeout(180)

Start = Callable[..., Engine]
Plain = Callable[[Sequence[Ask]], dict[str, Answer]]
ASKS = mixed(16, seed=41, aborts=False)
FULL_BLOCKS = [ask for ask in ASKS if len(ask.tokens) > 32]


def test_the_first_request_of_a_second_engine_hits(start: Start, plain: Plain, sidecar: Sidecar) -> None:
    first = start(blocks=400, connector=sidecar.connector())
    second = start(blocks=400, connector=sidecar.connector())
    first.run(ASKS)

    report = second.run(FULL_BLOCKS[:1])

    assert report.counts["connector_hits"] == (len(FULL_BLOCKS[0].tokens) - 1) // 32 * 32
    assert not judge(plain(ASKS), report.answers).wrong
    assert sidecar.leases() == 0


def test_two_engines_at_once_say_what_one_says(start: Start, plain: Plain, sidecar: Sidecar) -> None:
    engines = [start(blocks=64, connector=sidecar.connector()) for _ in range(2)]
    for engine, asks in zip(engines, (ASKS, ASKS[::-1]), strict=True):
        engine.begin(ServedEngine.run, asks)

    reports = [engine.end() for engine in engines]

    for report in reports:
        assert not judge(plain(ASKS), report.answers).wrong
        assert report.is_clean
    assert sum(report.counts["connector_hits"] for report in reports) > 0


def test_another_model_hits_nothing(start: Start, sidecar: Sidecar, tmp_path: Path) -> None:
    other = str(make_model(tmp_path / "other", seed=1))
    start(blocks=400, connector=sidecar.connector()).run(ASKS)

    report = start(model=other, blocks=400, connector=sidecar.connector()).run(ASKS[:4])

    assert report.counts["connector_hits"] == 0


def test_a_model_with_two_groups_of_cache_says_the_same(start: Start, windowed_model: str, sidecar: Sidecar) -> None:
    expected = start(model=windowed_model, blocks=400).run(ASKS).answers
    options = {"model": windowed_model, "blocks": 90, "connector": sidecar.connector()}

    reports = [start(**options).run(ASKS) for _ in range(2)]

    print([report.counts for report in reports])
    for report in reports:
        assert not judge(expected, report.answers).wrong
        assert report.is_clean
    assert reports[1].counts["connector_hits"] > 0
    assert sidecar.leases() == 0
