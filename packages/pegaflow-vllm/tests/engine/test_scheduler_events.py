"""Random events against vLLM's scheduler and block pool, with a worker that knows what every block must hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness.churn import churn
from harness.process import Engine, EngineError
from harness.sidecar import Sidecar

pytestmark = pytest.mark.timeout(900)

Start = Callable[..., Engine]
Scale = Callable[[int, int], int]
PRETEND = {"worker_cls": "harness.pretend.PretendWorker"}


def test_the_pretending_worker_runs_without_a_connector(start: Start) -> None:
    engine = start(blocks=40, more=PRETEND)

    done = engine.call(churn, 2000, 1)

    assert done.free_blocks == done.total_blocks
    assert done.events["preempt"] > 0
    assert done.checked_tokens > 10_000


def test_random_events_leak_nothing_and_load_only_what_belongs(start: Start, sidecar: Sidecar, scale: Scale) -> None:
    engine = start(blocks=40, connector=sidecar.connector(), more=PRETEND)
    before = engine.call(churn, 200, 3)

    done = engine.call(churn, scale(10_000, 100_000), 2)

    print(done)
    assert done.free_blocks == done.total_blocks
    assert set(done.events) >= {"add", "abort", "preempt", "fail load", "finish", "reset"}
    assert done.counts["connector_hits"] > 0
    assert done.holdings == before.holdings
    assert sidecar.leases() == 0


def test_a_load_that_fails_without_a_word_is_found_out(start: Start, sidecar: Sidecar) -> None:
    engine = start(blocks=40, connector=sidecar.connector(), more=PRETEND)

    with pytest.raises(EngineError, match="WrongBytesError"):
        engine.call(churn, 5_000, 2, 0.5, True)
