"""`python -m benchmarks.kv`: measure the storage engine and print each figure as it comes."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.kv import _disk, _memory, _prefix, _sidecar, _small, _values
from benchmarks.kv._contenders import Pega, peers
from benchmarks.kv._results import Measurement, machine, show, write
from benchmarks.kv._tables import put_into, tables
from pegaflow import PegaEngine

SUITES = ("values", "small", "memory", "prefix", "disk", "sidecar")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kv", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; default: all")
    parser.add_argument("--rounds", type=int, default=7, help="of which the median counts; default: %(default)s")
    parser.add_argument(
        "--open-blocks", type=int, default=10_000, help="blocks of 1 MiB in the log that is opened; %(default)s"
    )
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/kv.json"), help="default: %(default)s")
    parser.add_argument("--page", type=Path, help="a page of the documentation whose tables are replaced")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(SUITES):
        parser.error(f"there is no suite {', '.join(sorted(unknown))}; choose of {', '.join(SUITES)}")
    return arguments


def _large_values(rounds: int, missing: dict[str, str]) -> Iterator[Measurement]:
    for size, size_bytes in _values.SIZES.items():
        count = _values.WORKING_SET_BYTES // size_bytes
        keys = [f"value-{number}".encode() for number in range(count)]
        with PegaEngine(memory_bytes=512 << 20) as engine, peers(count, size_bytes) as (others, absent):
            missing.update(absent)
            for threads in (1, 2):
                contenders = [Pega("pegaflow", engine, keys), *others]
                yield from _values.measure(contenders, size, threads=threads, rounds=rounds)


def main() -> int:
    """Measure, print and write."""
    arguments = _arguments()
    missing: dict[str, str] = {}
    where = machine()
    suites: dict[str, Callable[[], Iterator[Measurement]]] = {
        "values": lambda: _large_values(arguments.rounds, missing),
        "small": lambda: _small.measure(arguments.rounds, missing),
        "memory": _memory.measure,
        "prefix": lambda: _prefix.measure(arguments.rounds),
        "disk": lambda: _disk.measure(arguments.rounds, arguments.open_blocks),
        "sidecar": lambda: _sidecar.measure(arguments.rounds),
    }
    measurements = []
    for name in arguments.suites or SUITES:
        for measurement in suites[name]():
            print(show(measurement), flush=True)
            measurements.append(measurement)
    for name, reason in missing.items():
        print(f"not measured: {name}: {reason}")
    if arguments.page:
        put_into(arguments.page, tables(measurements, where))
    options = {"rounds": arguments.rounds, "suites": arguments.suites or list(SUITES)}
    write(arguments.json, measurements, missing, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
