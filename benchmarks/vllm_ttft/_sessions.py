"""Agents that take turns: a system prompt that all share, a history that grows, and a pause for tools between turns."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping

from benchmarks.kv._results import Measurement
from benchmarks.vllm_ttft._cases import prompt
from benchmarks.vllm_ttft._engine import Contender, First

SYSTEM_TOKENS = 512
TURN_TOKENS = 320
SESSIONS = 20
TURNS = 4
"""In the end 20 sessions of about 1,700 tokens, 750 blocks in all, where the engines have 540."""


def agents(engines: Mapping[str, Contender], sessions: int = SESSIONS, turns: int = TURNS) -> Iterator[Measurement]:
    """Let every session have its turn, then all of them the next one: while one uses a tool, the others ask."""
    names = ["vLLM", "pegaflow"]
    system = prompt(SYSTEM_TOKENS)
    histories = [list(system) for _ in range(sessions)]
    for name in names:
        engines[name].reset()
    for turn in range(1, turns + 1):
        firsts: dict[str, list[First]] = {name: [] for name in names}
        asked = 0
        for history in histories:
            history += prompt(TURN_TOKENS)
            asked += len(history)
            for name in names if len(firsts["vLLM"]) % 2 == 0 else reversed(names):
                firsts[name].append(engines[name].first(history))
        own_s = statistics.mean(first.took_s for first in firsts["vLLM"])
        for name in names:
            mean_s = statistics.mean(first.took_s for first in firsts[name])
            share = sum(first.cached_tokens for first in firsts[name]) / asked
            yield Measurement(
                suite="agents",
                what=f"turn {turn} of {turns}, {sessions} sessions, {share:.0%} of the tokens not computed",
                contender=name,
                value=mean_s * 1000,
                unit="ms",
                ratio=mean_s / own_s,
                floor="vLLM",
            )
