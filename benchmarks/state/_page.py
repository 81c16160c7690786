"""What a run has measured, as Markdown for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["put_into", "render"]

BEGIN = "<!-- measured by benchmarks.state -->"
END = "<!-- end of what was measured -->"

PARTS = {"sqlite": "SQLite", "postgres": "Postgres"}


def render(report: dict[str, Any]) -> str:
    """Return the tables, with where and how they were measured and which bounds were not kept."""
    where = report["machine"]
    lines = [
        f"{where['measured'][:10]}: {where['cpus']} CPUs of {where['processor'] or 'unknown processor'}, "
        f"Python {where['python']}, {report['databases']}; medians of {report['rounds']} rounds; "
        f"load average before the run {where['load_average']}.",
        "",
    ]
    for part, title in PARTS.items():
        lines += [f"### {title}", "", *_table([row for row in report["cases"] if row["part"] == part]), ""]
    return "\n".join([*lines, "### Bounds that are not reached yet", "", *_missed(report["cases"])])


def put_into(path: Path, report: dict[str, Any]) -> None:
    """Replace what stands between the two markers of a page by the tables.

    Raises:
        ValueError: the page lacks the markers.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} lacks the markers {BEGIN} and {END}; put them where the tables belong")
    path.write_text(f"{before}{begin}\n\n{render(report)}\n\n{end}{after}", encoding="utf-8")


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| written by | what | contender | µs each | times the floor | at most |"
    yield "|---|---|---|--:|--:|---|"
    for row in rows:
        ratio = row["ratios"][-1]["ratio"] if row["ratios"] else None
        bound = "" if row["at_most"] is None else f"{row['at_most']:g} {'✓' if row['met'] else '**missed**'}"
        yield (
            f"| {row['task']} | {row['payloads']} | {row['contender']} | {row['us_per_message']:.1f} "
            f"| {'' if ratio is None else f'{ratio:.2f}'} | {bound} |"
        )


def _missed(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    missed = [row for row in rows if row["met"] is False]
    for row in missed:
        yield (
            f"- {PARTS[row['part']]}, {row['task']}, {row['payloads']}: {row['contender']} took "
            f"{row['ratios'][-1]['ratio']:.2f} times as long as the floor; {row['at_most']:g} is the bound."
        )
    if not missed:
        yield "None in this run."
