"""`python -m benchmarks.vllm_ttft`: measure time to first token, and print each figure as it comes."""

import argparse
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.kv._results import Measurement, machine, show, write
from benchmarks.vllm_ttft import _cases, _sessions
from benchmarks.vllm_ttft._contenders import another, contenders, shape
from benchmarks.vllm_ttft._floors import Floors
from benchmarks.vllm_ttft._page import put_into, tables

SUITES = ("cold", "warm", "partly", "restart", "miss", "throughput", "agents")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vllm_ttft", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; default: all")
    parser.add_argument(
        "--pairs", type=int, default=20, help="rounds of hits and misses, half as many of throughput; %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of what takes seconds; default: %(default)s")
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[1024, 2048, 4096, 8192], help="of prompts, in tokens; %(default)s"
    )
    parser.add_argument("--hidden", type=int, default=1024, help="the width of that Llama; default: %(default)s")
    parser.add_argument("--model", help="a configuration for the engines, with random weights; default: a small Llama")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/vllm_ttft.json"))
    parser.add_argument("--page", type=Path, help="a page of the documentation whose tables are replaced")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(SUITES):
        parser.error(f"there is no suite {', '.join(sorted(unknown))}; choose of {', '.join(SUITES)}")
    return arguments


def _measure(arguments: argparse.Namespace, directory: Path) -> Iterator[Measurement]:
    suites = arguments.suites or SUITES
    rounds, pairs, longest = arguments.rounds, arguments.pairs, max(arguments.lengths)
    token_bytes, model, hidden = shape(arguments.hidden).kv_bytes_per_token, arguments.model, arguments.hidden
    with contenders(directory, model, hidden) as (engines, sidecars):
        for engine in engines.values():
            # What is compiled or allocated once.
            engine.first(_cases.prompt(256))
        if "cold" in suites:
            for tokens in (min(arguments.lengths), longest):
                yield from _cases.cold(engines, tokens, rounds)
        if "warm" in suites:
            floors = Floors(directory, longest * token_bytes)
            for tokens in arguments.lengths:
                # Only at the longest does the small sidecar's memory not hold what it was given before.
                small = sidecars["pegaflow, disk"] if tokens == longest else None
                many = pairs if tokens == longest else max(3, pairs // 3)
                yield from _cases.warm(engines, small, floors, tokens, token_bytes, many)
        if "partly" in suites:
            yield from _cases.partly(engines, longest, rounds)
        if "restart" in suites:
            seen = _cases.prompt(longest)
            cold_s = engines["pegaflow"].first(seen).took_s
            yield from _cases.restarted(
                lambda: another("pegaflow", directory, model, hidden, sidecars["pegaflow"]), seen, cold_s
            )
        if "miss" in suites:
            yield from _cases.missed(engines, min(arguments.lengths), pairs)
        if "throughput" in suites:
            yield from _cases.throughput(engines, max(2 * rounds, pairs // 2))
        if "agents" in suites:
            yield from _sessions.agents(engines)


def main() -> int:
    """Measure, print and write."""
    arguments = _arguments()
    where, measurements = machine(), []
    missing = {} if _has_gpu() else {"vLLM's OffloadingConnector, and everything on a GPU": "there is none here"}
    with tempfile.TemporaryDirectory() as directory:
        for measurement in _measure(arguments, Path(directory)):
            print(show(measurement), flush=True)
            measurements.append(measurement)
    options: dict[str, object] = {
        "pairs": arguments.pairs,
        "rounds": arguments.rounds,
        "model": arguments.model,
        "hidden": arguments.hidden,
    }
    write(arguments.json, measurements, missing, options | {"kernel": platform.release()})
    if arguments.page:
        put_into(arguments.page, "benchmarks.vllm_ttft", tables(measurements, where, missing))
    return 0


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


if __name__ == "__main__":
    sys.exit(main())
