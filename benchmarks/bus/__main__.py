"""`python -m benchmarks.bus`: measure the bus on Redis beside its floor, print a table and write JSON."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from benchmarks.bus import _page
from benchmarks.bus._cases import bus_case, floor_case
from benchmarks.bus._peers import peer_cases
from benchmarks.flow import _report
from benchmarks.flow._rounds import interleave

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from servers import RedisServer

COUNT, PEER_COUNT = 20_000, 2_000
QUICK_COUNT, QUICK_PEER_COUNT = 1_000, 200


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bus", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts; default: %(default)s")
    parser.add_argument(
        "--quick", action="store_true", help="a short run that shows it works; its figures mean nothing"
    )
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/bus.json"), help="default: %(default)s")
    parser.add_argument("--page", type=Path, help="a Markdown page to put the table into, between its markers")
    return parser.parse_args()


def main() -> int:
    """Measure, print and write. Redis keeps its data in memory only: what it does for each message is compared."""
    arguments = _arguments()
    rounds = 2 if arguments.quick else arguments.rounds
    count, peer_count = (QUICK_COUNT, QUICK_PEER_COUNT) if arguments.quick else (COUNT, PEER_COUNT)
    machine = _report.machine()
    with RedisServer(appendonly="no") as server:
        floor = floor_case(server.url, count)
        ours = bus_case(server.url, count, floor)
        peers, versions = peer_cases(server.url, peer_count, ours)
        cases = [floor, ours, *peers]
        interleave(cases, rounds=rounds, note=lambda text: print(text, file=sys.stderr, flush=True))
        found = re.search(r"redis_version:(\S+)", server.command("INFO server"))
    report = {
        "machine": machine,
        "rounds": rounds,
        "quick": arguments.quick,
        "peers": versions,
        "server": f"Redis {found.group(1) if found else 'unknown'}",
        "cases": _report.rows(cases),
    }
    print(_page.render(report))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if arguments.page is not None:
        _page.put_into(arguments.page, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
