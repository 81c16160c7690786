"""A prefill engine hands its blocks to a decode engine through the sidecar."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest
from harness.judgement import judge
from harness.process import Engine
from harness.served import Report, ServedEngine
from harness.sidecar import Sidecar
from harness.workload import BLOCK_TOKENS, Answer, Ask, mixed

pytestmark = pytest.mark.timeout(1800)

Start = Callable[..., Engine]
Plain = Callable[[Sequence[Ask]], dict[str, Answer]]
Scale = Callable[[int, int], int]

ASKS = mixed(12, seed=51, aborts=False)
LONG = max(ASKS, key=lambda ask: len(ask.tokens))
BATCH = 40
TIGHT = {"blocks": 64, "max_seqs": 32}


def full_blocks(ask: Ask) -> int:
    """Count the blocks of a prompt that a hit may spare: one token is always computed."""
    return (len(ask.tokens) - 1) // BLOCK_TOKENS


def waiting(ask: Ask, blocks: int) -> Ask:
    """Have the engine wait for so many blocks."""
    return dataclasses.replace(ask, params={"pegaflow": {"await_blocks": blocks}})


def test_a_decode_engine_waits_for_what_a_prefill_engine_computes(start: Start, plain: Plain, sidecar: Sidecar) -> None:
    prefill = start(blocks=400, connector=sidecar.connector() | {"kv_role": "kv_producer"})
    decode = start(blocks=400, connector=sidecar.connector(handoff_timeout_s=60) | {"kv_role": "kv_consumer"})
    decode.begin(ServedEngine.run, [waiting(LONG, full_blocks(LONG))])

    given = prefill.run([dataclasses.replace(LONG, max_tokens=1)])
    taken = decode.end()

    assert given.counts["connector_hits"] == 0
    assert taken.counts["connector_hits"] == full_blocks(LONG) * BLOCK_TOKENS
    assert not judge(plain(ASKS), taken.answers).wrong


def test_blocks_that_were_announced_and_never_come_are_computed(start: Start, plain: Plain, sidecar: Sidecar) -> None:
    decode = start(blocks=400, connector=sidecar.connector(handoff_timeout_s=0.3))

    report = decode.run([waiting(LONG, 1_000)])

    assert report.counts["connector_hits"] == 0
    assert not judge(plain(ASKS), report.answers).wrong


def hand_over(prefill: Engine, decode: Engine, asks: Sequence[Ask]) -> tuple[list[Report], list[Report]]:
    """Have each batch prefilled while the one before is decoded, each request with what its prefill gave."""
    given: list[Report] = []
    taken: list[Report] = []
    for first in range(0, len(asks), BATCH):
        batch = asks[first : first + BATCH]
        given.append(prefill.run([dataclasses.replace(ask, max_tokens=1, abort_after=None) for ask in batch]))
        if first:
            taken.append(decode.end())
        params = {name: answer.params for name, answer in given[-1].answers.items()}
        decode.begin(ServedEngine.run, [dataclasses.replace(ask, params=params[ask.name]) for ask in batch])
    return given, [*taken, decode.end()]


def test_tokens_are_the_same_through_two_engines_with_little_room(
    start: Start, plain: Plain, sidecar: Sidecar, scale: Scale
) -> None:
    asks = mixed(scale(80, 520), seed=52, longest=6)
    prefill = start(**TIGHT, connector=sidecar.connector() | {"kv_role": "kv_producer"})
    decode = start(**TIGHT, connector=sidecar.connector(handoff_timeout_s=60) | {"kv_role": "kv_consumer"})

    given, taken = hand_over(prefill, decode, asks)

    answers = {name: answer for report in taken for name, answer in report.answers.items()}
    verdict = judge(plain(asks), answers)
    preemptions = sum(report.counts["preemptions"] for report in taken)
    print(f"{len(asks)} requests handed over, {preemptions} preemptions, {verdict}")
    assert not verdict.wrong
    assert verdict.tie_share <= 0.01
    assert preemptions > 0
    # What was prefilled is never computed again.
    computed = [ask.name for ask in asks if answers[ask.name].cached_tokens < full_blocks(ask) * BLOCK_TOKENS]
    assert [name for name in computed if answers[name].is_whole] == []
    assert all(report.counts["connector_hits"] == 0 for report in given)
    assert all(report.is_clean for report in (*given, *taken))
    assert sidecar.leases() == 0
