"""`python -m pegaflow replay`: what an eviction policy would have hit on a recorded trace."""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from pegaflow._native import Replay, Trace, policy_names
from pegaflow._progress import ProgressBar
from pegaflow._trace import TraceError, read_trace

_BELADY = "belady"
_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class ReplayResult:
    """What one policy hit on one trace. Rates are shares of the block references, from 0 to 1."""

    policy: str
    hints: str
    """What the policy was told of the future: `none`, `exact`, or `ended` and after how many seconds."""
    hit_rate: float
    """References that found their block and all blocks before it in the cache."""
    ideal_hit_rate: float
    """The same for a cache that never evicts."""
    hits: int
    references: int
    requests: int
    unique_blocks: int
    capacity_blocks: int


def replay(
    trace: Trace, policy: str, capacity: Fraction, *, hints: str | None = None, delay_s: float = 60.0
) -> ReplayResult:
    """Replay a trace in a cache that holds `capacity`, a share of its unique blocks.

    `hints` is `none`, `ended` (blocks that nothing will use again are released `delay_s` after their last use) or
    `exact` (every next use is known); by default `next-use` is told what ended, `belady` everything, others nothing.

    Raises:
        ValueError: No policy has that name.
    """
    hints = hints or {"next-use": "ended", _BELADY: "exact"}.get(policy, "none")
    capacity_blocks = int(capacity * trace.unique_blocks)
    released_after_ms = round(delay_s * 1000) if hints == "ended" else None
    name = "next-use" if policy == _BELADY else policy
    run = Replay(trace, name, capacity_blocks, released_after_ms=released_after_ms, exact=hints == "exact")
    requests = len(trace)
    with ProgressBar("replaying") as bar:
        while left := run.advance(max(requests // _STEPS, 1)):
            bar.show(1 - left / requests)
    references, hits, ideal_hits = run.score()
    return ReplayResult(
        policy=policy,
        hints=f"ended, told {delay_s:g} s late" if hints == "ended" else hints,
        hit_rate=hits / references if references else 0.0,
        ideal_hit_rate=ideal_hits / references if references else 0.0,
        hits=hits,
        references=references,
        requests=requests,
        unique_blocks=trace.unique_blocks,
        capacity_blocks=capacity_blocks,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("trace", metavar="TRACE", type=Path, help="JSON lines, plain or packed as .gz or .xz")
    parser.add_argument("--policy", choices=[*policy_names(), _BELADY], default="lru", help="default: %(default)s")
    parser.add_argument(
        "--capacity", type=_share, default="0.05", metavar="SHARE", help="of the unique blocks; default: %(default)s"
    )
    parser.add_argument(
        "--hints",
        choices=["none", "ended", "exact"],
        help="what the policy is told of the future; default: ended for next-use, exact for belady, else none",
    )
    parser.add_argument(
        "--delay-s", type=_delay_s, default=60.0, metavar="S", help="how late --hints ended tells; default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Read, replay, print."""
    if arguments.policy == _BELADY and arguments.hints not in (None, "exact"):
        return _fail("belady is the optimum of --hints exact; leave --hints out, or choose next-use")
    try:
        with ProgressBar("reading  ") as bar:
            trace = read_trace(arguments.trace, bar.show)
    except (TraceError, OSError) as error:
        return _fail(str(error))
    result = replay(trace, arguments.policy, arguments.capacity, hints=arguments.hints, delay_s=arguments.delay_s)
    print(json.dumps(asdict(result)) if arguments.json else _table(result))
    return 0


def _fail(reason: str) -> int:
    print(f"python -m pegaflow replay: {reason}", file=sys.stderr)
    return 1


def _table(result: ReplayResult) -> str:
    capacity = result.capacity_blocks / max(result.unique_blocks, 1)
    return "\n".join(
        [
            f"policy     {result.policy} (hints: {result.hints})",
            f"trace      {result.requests:,} requests, {result.references:,} block references, "
            f"{result.unique_blocks:,} unique blocks",
            f"capacity   {result.capacity_blocks:,} blocks ({capacity:.1%} of the unique blocks)",
            f"hit rate   {result.hit_rate:.1%}",
            f"ideal      {result.ideal_hit_rate:.1%} (a cache that never evicts)",
        ]
    )


def _share(text: str) -> Fraction:
    try:
        # A float first: the power of ten of a fraction may have any number of digits.
        share = Fraction(text) if "/" in text or 0 < float(text) <= 1 else Fraction(0)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share: give a number above 0 and at most 1, such as 0.05")
    return share


def _delay_s(text: str) -> float:
    delay_s = float(text)
    if not 0 <= delay_s < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no delay: give seconds, 0 or more")
    return delay_s
