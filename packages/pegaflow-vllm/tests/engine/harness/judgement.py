"""Whether two engines said the same.

The order of a sum depends on the shape of a batch, so where two logits are nearly equal, either may win: that is a tie
and no error. Where the gap is wider, it is one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from harness.workload import Answer

TIE_GAP = 1e-3


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a comparison found."""

    compared: int
    ties: tuple[str, ...]
    wrong: tuple[str, ...]
    """Requests whose answers differ and should not."""

    @property
    def tie_share(self) -> float:
        """The share of requests that were decided by a tie."""
        return len(self.ties) / max(1, self.compared)


def judge(expected: Mapping[str, Answer], found: Mapping[str, Answer]) -> Verdict:
    """Compare each answer with the expected one: token by token up to the first difference.

    An answer that was given up on either side is compared as far as both go.
    """
    ties: list[str] = []
    wrong: list[str] = []
    for name, answer in found.items():
        gap = _gap_at_difference(expected[name], answer)
        if gap is not None:
            (ties if gap < TIE_GAP else wrong).append(name)
    return Verdict(len(found), tuple(ties), tuple(wrong))


def _gap_at_difference(expected: Answer, found: Answer) -> float | None:
    for position, (one, other) in enumerate(zip(expected.tokens, found.tokens, strict=False)):
        if one != other:
            return min(expected.gaps[position], found.gaps[position])
    if expected.is_whole and found.is_whole and len(expected.tokens) != len(found.tokens):
        return float("inf")
    return None
