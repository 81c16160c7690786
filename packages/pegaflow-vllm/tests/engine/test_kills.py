"""SIGKILL at random moments, of the sidecar and of the engine: nothing wrong is said after it, and nothing is kept."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence

import pytest
from harness.judgement import judge
from harness.process import Engine, EngineError
from harness.served import Kill, ServedEngine
from harness.sidecar import Sidecar
from harness.workload import Answer, Ask, mixed

pytestmark = pytest.mark.timeout(3600)

Start = Callable[..., Engine]
Plain = Callable[[Sequence[Ask]], dict[str, Answer]]
Scale = Callable[[int, int], int]


def test_an_engine_outlives_its_sidecar(start: Start, plain: Plain, sidecar: Sidecar, scale: Scale) -> None:
    draw = random.Random(21)
    engine = start(blocks=64, connector=sidecar.connector(reconnect_s=0.05))
    hits, kills = 0, scale(4, 40)
    for _ in range(kills):
        asks = mixed(24, seed=draw.randrange(8), longest=6)
        kill = Kill(pid=sidecar.pid, step=draw.randrange(20), delay_s=draw.uniform(0, 0.1))
        engine.begin(ServedEngine.run, asks, 24, (kill,))
        sidecar.wait()
        is_prompt = draw.random() < 0.5
        if is_prompt:
            sidecar.start()
        report = engine.end()
        if not is_prompt:
            sidecar.start()
        hits += report.counts.get("connector_hits", 0)
        assert not judge(plain(asks), report.answers).wrong
        assert (report.is_clean, report.counts.get("failed", 0), sidecar.leases()) == (True, 0, 0)
    # Few kills may all come before anything was kept: what is asked twice with the sidecar back is loaded in any case.
    for _ in range(2):
        hits += engine.run(asks).counts.get("connector_hits", 0)
    print(f"{kills} kills of the sidecar, {hits} tokens loaded around them")
    assert hits > 0


def test_a_killed_engine_leaves_no_lease_and_no_wrong_block(
    start: Start, plain: Plain, sidecar: Sidecar, scale: Scale
) -> None:
    draw = random.Random(22)
    asks = mixed(30, seed=23, longest=6)
    hits, options = 0, {"blocks": 64, "connector": sidecar.connector()}
    for _ in range(kills := scale(2, 30)):
        engine = start(**options)
        kill = Kill(pid=None, step=draw.randrange(40), delay_s=draw.uniform(0, 0.1))
        with pytest.raises(EngineError, match="its process ended"):
            engine.run(draw.sample(asks, len(asks)), kills=(kill,))
        assert sidecar.leases() == 0
    engine = start(**options)
    for _ in range(2):
        report = engine.run(asks)
        hits += report.counts["connector_hits"]
        assert not judge(plain(asks), report.answers).wrong
        assert (report.is_clean, sidecar.leases()) == (True, 0)
    print(f"{kills} kills of the engine, {hits} tokens loaded after them, {sidecar.figures()}")
    assert hits > 0


def test_a_sidecar_that_never_comes_back_is_missed_by_nobody(start: Start, plain: Plain, sidecar: Sidecar) -> None:
    asks = mixed(24, seed=24, longest=6)
    engine = start(blocks=64, connector=sidecar.connector())
    os.kill(sidecar.pid, 9)

    report = engine.run(asks)

    assert not judge(plain(asks), report.answers).wrong
    assert report.counts["connector_hits"] == 0
    assert report.is_clean
