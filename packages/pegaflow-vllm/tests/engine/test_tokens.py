"""With the connector, an engine says what it says without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from harness.judgement import judge
from harness.process import Engine
from harness.served import Report
from harness.sidecar import Sidecar
from harness.workload import Answer, Ask, mixed

pytestmark = pytest.mark.timeout(1800)

Start = Callable[..., Engine]
Plain = Callable[[Sequence[Ask]], dict[str, Answer]]
Scale = Callable[[int, int], int]

TIGHT = {"blocks": 64, "max_seqs": 32}
"""So little KV cache that requests are preempted, with enough of them running at once."""


def assert_same(expected: dict[str, Answer], reports: Sequence[Report]) -> None:
    """Compare every answer, and look for blocks that did not come back."""
    ties = compared = 0
    for report in reports:
        verdict = judge(expected, report.answers)
        shown = ("steps", "preemptions", "connector_hits", "most_running")
        print({name: report.counts.get(name, 0) for name in shown}, verdict)
        assert not verdict.wrong
        assert report.is_clean
        ties, compared = ties + len(verdict.ties), compared + verdict.compared
    assert ties <= 0.01 * compared


def test_tokens_are_the_same_through_preemption_aborts_disk_and_a_restart(
    start: Start, plain: Plain, tmp_path: Path, scale: Scale
) -> None:
    asks = mixed(scale(160, 600), seed=11, longest=6)
    half = len(asks) // 2
    with Sidecar(tmp_path, memory="4MiB") as sidecar:
        engine = start(**TIGHT, connector=sidecar.connector())
        reports = [engine.run(asks[:half], 40)]
        engine.close()
        engine = start(**TIGHT, connector=sidecar.connector())
        reports += [engine.run(asks[half:], 40), engine.run(asks[:half], 40)]
        figures, leases = sidecar.figures(), sidecar.leases()

    print({key: figures[key] for key in ("memory_hits", "disk_hits", "evictions", "disk_reads")})
    assert_same(plain(asks), reports)
    assert leases == 0
    assert max(report.counts["most_running"] for report in reports) >= 16
    assert sum(report.counts["preemptions"] for report in reports) > 0
    # What the first one hits hangs on what was evicted meanwhile; the others ask what was stored before.
    assert all(report.counts["connector_hits"] > 0 for report in reports[1:])
    assert figures["disk_reads"] > 0


def test_the_first_request_after_a_restart_hits(start: Start, plain: Plain, sidecar: Sidecar) -> None:
    asks = mixed(8, seed=12, aborts=False)
    engine = start(blocks=200, connector=sidecar.connector())
    engine.run(asks)
    engine.close()
    sidecar.stop()
    sidecar.start()
    engine = start(blocks=200, connector=sidecar.connector())

    reports = [engine.run([ask]) for ask in asks]

    for ask, report in zip(asks, reports, strict=True):
        found = report.counts["connector_hits"] + report.counts["local_hits"]
        assert found == (len(ask.tokens) - 1) // 32 * 32
        assert not judge(plain(asks), report.answers).wrong
    assert sidecar.figures()["disk_reads"] > 0
