"""Hints, ranks and settings on a real engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from harness.judgement import judge
from harness.process import Engine, EngineError
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


@pytest.mark.parametrize(
    ("extra", "said"),
    [({"break_evn": 1}, "did you mean 'break_even'"), ({"lease_s": -1}, "number of seconds above 0, not -1")],
)
def test_a_setting_that_cannot_be_meant_is_named_at_start(
    start: Start, sidecar: Sidecar, extra: dict[str, object], said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        start(blocks=100, connector=sidecar.connector(**extra))
