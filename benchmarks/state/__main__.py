"""`python -m benchmarks.state`: measure the stores beside their floors, print a table and write JSON."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
from pathlib import Path

import psycopg

from benchmarks.flow import _report
from benchmarks.flow._rounds import interleave
from benchmarks.state import _page
from benchmarks.state._cases import QUICK, Counts, every_case

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from servers import PostgresServer


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.state", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts; default: %(default)s")
    parser.add_argument(
        "--quick", action="store_true", help="a short run that shows it works; its figures mean nothing"
    )
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/state.json"), help="default: %(default)s")
    parser.add_argument("--page", type=Path, help="a Markdown page to put the tables into, between its markers")
    return parser.parse_args()


def main() -> int:
    """Measure, print and write. Both databases lie in the folder for temporary files."""
    arguments = _arguments()
    rounds = 2 if arguments.quick else arguments.rounds
    machine = _report.machine()
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as server:
        cases = every_case(QUICK if arguments.quick else Counts(), Path(folder), server.dsn)
        interleave(cases, rounds=rounds, note=lambda text: print(text, file=sys.stderr, flush=True))
        with psycopg.connect(server.dsn) as db:
            version = db.info.server_version
    report = {
        "machine": machine,
        "rounds": rounds,
        "quick": arguments.quick,
        "databases": f"SQLite {sqlite3.sqlite_version}, Postgres {version // 10_000}.{version % 10_000}",
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
