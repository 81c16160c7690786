"""No request is spared what only others have asked: tenants by salt, and adapters by their content."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from harness.adapters import make_adapter
from harness.judgement import judge
from harness.process import Engine
from harness.served import Options, Report
from harness.sidecar import Sidecar
from harness.workload import BLOCK_TOKENS, Adapter, Answer, Ask, mixed

pytestmark = pytest.mark.timeout(1800)

Start = Callable[..., Engine]
Plain = Callable[[Sequence[Ask]], dict[str, Answer]]
Scale = Callable[[int, int], int]

TIGHT: dict[str, Any] = {"blocks": 64, "max_seqs": 32}
WITH_ADAPTERS = {"enable_lora": True, "max_loras": 3, "max_lora_rank": 8}


def shared_tokens(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the tokens of the whole blocks with which both begin."""
    blocks = 0
    while one[: (end := (blocks + 1) * BLOCK_TOKENS)] == other[:end] and end <= min(len(one), len(other)):
        blocks += 1
    return blocks * BLOCK_TOKENS


def spared_too_much(asks: Sequence[Ask], answers: Mapping[str, Answer]) -> list[str]:
    """Name the requests that were spared more than they share with any other of these."""
    found = []
    for ask in asks:
        seen = [one.tokens + answers[one.name].tokens for one in asks if one is not ask]
        if answers[ask.name].cached_tokens > max(shared_tokens(ask.tokens, one) for one in seen):
            found.append(ask.name)
    return found


def of(owner: str, asks: Sequence[Ask], salt: str | None = None, adapter: Adapter | None = None) -> list[Ask]:
    """Have somebody ask the same."""
    return [dataclasses.replace(ask, name=f"{owner} {ask.name}", salt=salt, adapter=adapter) for ask in asks]


def assert_kept_apart(first: Sequence[tuple[list[Ask], Report]], again: Report, expected: Mapping[str, Answer]) -> None:
    """Judge owners that asked the same, one after the other, and then all of them at once."""
    ties = compared = 0
    for asks, report in first:
        assert spared_too_much(asks, report.answers) == []
    for report in (*(report for _, report in first), again):
        verdict = judge(expected, report.answers)
        print({name: report.counts.get(name, 0) for name in ("preemptions", "connector_hits", "most_running")}, verdict)
        assert not verdict.wrong
        assert report.is_clean
        ties, compared = ties + len(verdict.ties), compared + verdict.compared
    assert ties <= 0.01 * compared
    # The judge is judged: now every owner has asked before, and that is found out.
    for asks, _ in first:
        assert len(spared_too_much(asks, again.answers)) > len(asks) // 4


def test_tenants_that_ask_the_same_are_kept_apart(start: Start, plain: Plain, sidecar: Sidecar, scale: Scale) -> None:
    asks = mixed(scale(40, 170), seed=61, longest=6)
    owned = [of(owner, asks, salt=salt) for owner, salt in (("nobody", None), ("red", "red"), ("blue", "blue"))]
    engine = start(**TIGHT, connector=sidecar.connector())
    first = [(mine, engine.run(mine)) for mine in owned]
    engine.close()
    everybody = [ask for same in zip(*owned, strict=True) for ask in same]

    again = start(**TIGHT, connector=sidecar.connector()).run(everybody)

    assert_kept_apart(first, again, plain(everybody))
    assert sidecar.leases() == 0


def renamed(asks: Sequence[Ask], adapters: Mapping[str, Adapter]) -> list[Ask]:
    """Ask with other adapters in place of those at the given paths."""
    return [
        ask if ask.adapter is None else dataclasses.replace(ask, adapter=adapters[ask.adapter.path]) for ask in asks
    ]


def differently_answered(owned: Sequence[list[Ask]], answers: Mapping[str, Answer]) -> int:
    """Count what every owner is answered otherwise."""
    same = zip(*owned, strict=True)
    return sum(len({answers[ask.name].tokens for ask in asks}) == len(owned) for asks in same)


def test_adapters_are_kept_apart_by_their_content_and_not_by_their_name(
    start: Start, sidecar: Sidecar, model: str, tmp_path: Path, scale: Scale
) -> None:
    asks = mixed(scale(30, 170), seed=62, longest=6)
    one, two, copy = (make_adapter(tmp_path / name, model, seed) for name, seed in (("1", 1), ("2", 2), ("copy", 1)))
    owned = [
        of("base", asks),
        *(of(path, asks, adapter=Adapter(path=path, name="its", number=1)) for path in (one, two)),
    ]
    first = []
    for mine in owned:
        with Engine(Options(model=model, **TIGHT, connector=sidecar.connector(), more=WITH_ADAPTERS)) as engine:
            first.append((mine, engine.run(mine)))
    others = {one: Adapter(path=copy, name="another", number=2), two: Adapter(path=two, name="third", number=7)}
    everybody = renamed([ask for same in zip(*owned, strict=True) for ask in same], others)

    again = start(**TIGHT, connector=sidecar.connector(), more=WITH_ADAPTERS).run(everybody)

    with_room = start(blocks=1000, more=WITH_ADAPTERS)
    expected = with_room.run([dataclasses.replace(ask, abort_after=None) for ask in everybody], 8).answers
    assert_kept_apart(first, again, expected)
    assert sidecar.leases() == 0
    assert differently_answered(owned, expected) > len(asks) // 2
