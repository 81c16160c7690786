"""Stored blocks that are not what was stored are misses: counted, and never loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from harness import damage
from harness.judgement import judge
from harness.process import Engine
from harness.sidecar import Sidecar
from harness.workload import Answer, Ask, mixed

pytestmark = pytest.mark.timeout(180)

Start = Callable[..., Engine]
Plain = Callable[[Sequence[Ask]], dict[str, Answer]]
ASKS = mixed(24, seed=31, aborts=False)


@pytest.mark.parametrize("harm", [damage.alter_files, damage.cut_files])
def test_files_that_were_damaged_cost_computing_only(
    start: Start, plain: Plain, sidecar: Sidecar, harm: Callable[..., int]
) -> None:
    start(blocks=400, connector=sidecar.connector()).run(ASKS)
    whole = start(blocks=400, connector=sidecar.connector()).run(ASKS)
    sidecar.stop()
    harmed = harm(sidecar.disk, seed=32)
    sidecar.start()

    report = start(blocks=400, connector=sidecar.connector()).run(ASKS)

    print(f"{harmed} places harmed: {whole.counts['connector_hits']} tokens hit before, then {report.counts}")
    assert harmed > 0
    assert not judge(plain(ASKS), report.answers).wrong
    assert (report.is_clean, report.counts["failed"], sidecar.leases()) == (True, 0, 0)
    figures = sidecar.figures()
    assert report.counts["connector_hits"] < whole.counts["connector_hits"] or figures["corruptions"] > 0


def test_memory_that_was_damaged_costs_computing_only(start: Start, plain: Plain, sidecar: Sidecar) -> None:
    start(blocks=400, connector=sidecar.connector()).run(ASKS)
    harmed = damage.alter_memory(sidecar.pid, seed=33)

    report = start(blocks=400, connector=sidecar.connector()).run(ASKS)

    print(f"{harmed} places harmed, {report.counts}, {sidecar.figures()}")
    assert harmed > 0
    assert not judge(plain(ASKS), report.answers).wrong
    assert (report.is_clean, report.counts["failed"], sidecar.leases()) == (True, 0, 0)
    assert sidecar.figures()["corruptions"] > 0
