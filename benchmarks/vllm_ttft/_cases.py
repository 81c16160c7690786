"""What is measured. The contenders of a case take turns within a round; what counts is the median of the rounds."""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from benchmarks.kv._results import Measurement
from benchmarks.vllm_ttft._contenders import Sidecar
from benchmarks.vllm_ttft._engine import BLOCK_TOKENS, Contender
from benchmarks.vllm_ttft._floors import Floors

Engines = Mapping[str, Contender]
_draw = random.Random(0)


def prompt(tokens: int) -> list[int]:
    """Make a prompt that nobody has seen, five tokens longer than its blocks: as vLLM's example needs it."""
    return [_draw.randrange(256) for _ in range(tokens - BLOCK_TOKENS + 5)]


def rounds_of(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every case once a round, in an order that rotates."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            taken[name].append(cases[name]())
    return taken


def _unseen(engine: Contender, tokens: int) -> float:
    return engine.first(prompt(tokens)).took_s


def _hit(engine: Contender, seen: list[int]) -> float:
    # An engine that has waited for its turn has to be woken first: a prompt shorter than a block does that.
    engine.first(prompt(BLOCK_TOKENS + 8))
    first = engine.first(seen)
    if first.cached_tokens < (len(seen) - 1) // BLOCK_TOKENS * BLOCK_TOKENS:
        print(f"{engine.name}: {first.cached_tokens} of {len(seen)} tokens were there", file=sys.stderr, flush=True)
    return first.took_s


def cold(engines: Engines, tokens: int, rounds: int) -> Iterator[Measurement]:
    """Prompts that nobody has seen: how long they take. What the connector costs them `missed` tells, of many pairs."""
    names = [name for name in engines if name != "pegaflow, disk"]
    taken = rounds_of({name: partial(_unseen, engines[name], tokens) for name in names}, rounds)
    yield from _against("cold", f"{tokens} tokens, not seen before", taken, "vLLM", {})


def warm(
    engines: Engines, small: Sidecar | None, floors: Floors, tokens: int, token_bytes: int, rounds: int
) -> Iterator[Measurement]:
    """The same prompt again: in vLLM's own cache, in the sidecar's memory, on the disk, in the example's files."""
    engines = {name: engine for name, engine in engines.items() if small is not None or "disk" not in name}
    known = [prompt(tokens) for _ in range(3)]
    for name, engine in engines.items():
        for seen in known if "disk" in name else known[:1]:
            engine.first(seen)
    size_bytes = len(known[0]) // BLOCK_TOKENS * BLOCK_TOKENS * token_bytes
    turn = iter(range(1 << 30))
    before = small.disk_reads() if small is not None else 0

    def again(name: str) -> float:
        engines[name].reset()
        # The small sidecar's memory holds one of the three and a part of another: none of the one whose turn it is.
        return _hit(engines[name], known[next(turn) % 3 if "disk" in name else 0])

    cases: dict[str, Callable[[], float]] = {"vLLM": partial(_hit, engines["vLLM"], known[0])}
    cases |= {name: partial(again, name) for name in engines if name != "vLLM"}
    cases |= {"memcpy": lambda: floors.copy_s(size_bytes), "direct read": lambda: floors.read_s(size_bytes)}
    taken = rounds_of(cases, rounds)
    read = None if small is None else (small.disk_reads() - before) / (rounds * (len(known[0]) // BLOCK_TOKENS))
    yield from _warm_rows(taken, tokens, size_bytes, read)


def _warm_rows(
    taken: Mapping[str, Sequence[float]], tokens: int, size_bytes: int, read: float | None
) -> Iterator[Measurement]:
    """Give a row for each contender, and what it adds to vLLM's own cache; the targets are for the longest prompts."""
    what = f"{tokens} tokens, seen before ({size_bytes >> 20} MiB)"
    floors = {"memcpy", "direct read"}
    yield from _against("warm", what, {name: one for name, one in taken.items() if name not in floors}, "vLLM", {})
    for name in floors:
        yield _row("warm", what, name, statistics.median(taken[name]))
    added = {
        name: [one - own for one, own in zip(taken[name], taken["vLLM"], strict=True)]
        for name in taken
        if name not in {*floors, "vLLM"}
    }
    what = f"{tokens} tokens, what that adds to vLLM's own cache"
    example = statistics.median(added["ExampleConnector"])
    for name, times in added.items():
        floor = "direct read" if "disk" in name else "memcpy"
        ratio = statistics.median(one / other for one, other in zip(times, taken[floor], strict=True))
        median_s = statistics.median(times)
        target, met = "", None
        if median_s <= 0:
            what_told = f"{what}: less than this run can tell"
            yield _row("warm", what_told, name, median_s, ratio, floor)
            continue
        if name == "pegaflow" and read is not None:
            target = "<= 1.5x memcpy, less than ExampleConnector"
            met = ratio <= 1.5 and median_s < example
        elif "disk" in name:
            target, met = "<= 1.3x direct read", ratio <= 1.3
            what_read = f"{what}; {read:.0%} of the blocks were read"
            yield _row("warm", what_read, name, median_s, ratio, floor, target, met)
            continue
        yield _row("warm", what, name, median_s, ratio, floor, target, met)


def partly(engines: Engines, tokens: int, rounds: int) -> Iterator[Measurement]:
    """Prompts of which the first half was seen before, with another second half."""
    half = prompt(tokens // 2)[: (tokens // 2 - BLOCK_TOKENS) // BLOCK_TOKENS * BLOCK_TOKENS]
    names = ["vLLM", "pegaflow", "ExampleConnector"]
    for name in names:
        engines[name].first(half + prompt(BLOCK_TOKENS * 2))

    def other_half(name: str, is_reset: bool) -> float:
        if is_reset:
            engines[name].reset()
        return engines[name].first(half + prompt(tokens // 2)).took_s

    cases = {name: partial(other_half, name, name != "vLLM") for name in names}
    taken = rounds_of(cases, rounds)
    what = f"{tokens} tokens, the first half seen before"
    yield from _against("partly", what, taken, "vLLM", {"pegaflow": "<= 1.1x vLLM's own cache"}, most=1.1)


def missed(engines: Engines, tokens: int, rounds: int) -> Iterator[Measurement]:
    """What a miss costs, in many pairs."""
    cases = {name: partial(_unseen, engines[name], tokens) for name in ("vLLM", "pegaflow")}
    taken = rounds_of(cases, rounds)
    what = f"a miss at {tokens} tokens, {rounds} pairs"
    yield from _against("miss", what, taken, "vLLM", {"pegaflow": "<= 1.02x vLLM"})


def throughput(engines: Engines, rounds: int) -> Iterator[Measurement]:
    """Sixteen prompts at once of which none was seen, with 32 tokens of answer each, until all is saved."""
    tokens, answer, count = 512, 32, 16

    def run(name: str) -> float:
        return engines[name].all_s([prompt(tokens) for _ in range(count)], answer)

    taken = rounds_of({name: partial(run, name) for name in ("vLLM", "pegaflow")}, rounds)
    ratio = statistics.median(own / ours for own, ours in zip(taken["vLLM"], taken["pegaflow"], strict=True))
    what = f"{count} prompts of {tokens} tokens at once, none seen"
    for name, times in taken.items():
        rate = count * (len(prompt(tokens)) + answer) / statistics.median(times)
        mine = {} if name == "vLLM" else {"ratio": ratio, "floor": "vLLM", "target": ">= 0.98x", "met": ratio >= 0.98}
        yield Measurement(suite="throughput", what=what, contender=name, value=rate, unit="tokens/s", **mine)  # type: ignore[arg-type]


def restarted(fresh: Callable[[], Contender], seen: list[int], cold_s: float) -> Iterator[Measurement]:
    """The first request of an engine that has just started, which another engine has seen."""
    with fresh() as engine:
        first = engine.first(seen)
    what = f"{len(seen)} tokens, the first request after a restart, {first.cached_tokens} of them from the sidecar"
    yield _row("restart", what, "pegaflow", first.took_s, first.took_s / cold_s, "cold")


def _against(
    suite: str,
    what: str,
    taken: Mapping[str, Sequence[float]],
    floor: str,
    targets: Mapping[str, str],
    *,
    most: float = 1.02,
) -> Iterator[Measurement]:
    for name, times in taken.items():
        ratio = statistics.median(one / other for one, other in zip(times, taken[floor], strict=True))
        target = targets.get(name, "")
        met = ratio <= most if target else None
        yield _row(suite, what, name, statistics.median(times), ratio, floor, target, met)


def _row(
    suite: str,
    what: str,
    contender: str,
    took_s: float,
    ratio: float | None = None,
    floor: str = "",
    target: str = "",
    met: bool | None = None,
) -> Measurement:
    return Measurement(
        suite=suite,
        what=what,
        contender=contender,
        value=took_s * 1000,
        unit="ms",
        ratio=ratio,
        floor=floor,
        target=target,
        met=met,
    )
