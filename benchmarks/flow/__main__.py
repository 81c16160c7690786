"""`python -m benchmarks.flow`: measure the flow runtime beside its floors, print a table and write JSON."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.flow import _memory, _page, _peers, _report, _weight
from benchmarks.flow._cases import QUICK, Counts, every_case
from benchmarks.flow._rounds import interleave


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flow", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of which the median counts; default: %(default)s")
    parser.add_argument("--only", metavar="PARTS", default="abcdpw", help="parts to measure; default: %(default)s")
    parser.add_argument(
        "--quick", action="store_true", help="a short run that shows it works; its figures mean nothing"
    )
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/flow.json"), help="default: %(default)s")
    parser.add_argument("--peers", action="store_true", help="measure other runtimes too; installs them with uv")
    parser.add_argument(
        "--peer-environments", type=Path, default=Path(".nox/peers"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--page", type=Path, help="a Markdown page to put the tables into, between its markers")
    return parser.parse_args()


def main() -> int:
    """Measure, print and write."""
    arguments = _arguments()
    rounds = 2 if arguments.quick else arguments.rounds
    counts = QUICK if arguments.quick else Counts()
    cases = [case for case in every_case(counts) if case.part in arguments.only]
    machine = _report.machine()
    versions = {}
    with ExitStack() as stack:
        for peer in stack.enter_context(_peers.running(arguments.peer_environments)) if arguments.peers else ():
            versions[peer.name] = peer.version
            cases += _peers.cases(peer, [case for case in cases if not case.floors], quick=arguments.quick)
        interleave(cases, rounds=rounds, note=_note)
    _note("memory and weight")
    report = {
        "machine": machine,
        "rounds": rounds,
        "quick": arguments.quick,
        "peers": versions,
        "cases": _report.rows(cases),
        "memory": _memory.measure(counts.traces) if "d" in arguments.only else [],
        "weight": _weight.measure(rounds) if "w" in arguments.only else None,
    }
    print(_page.render(report))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if arguments.page is not None:
        _page.put_into(arguments.page, report)
    return 0


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
