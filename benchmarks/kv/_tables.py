"""Results as Markdown, for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.kv._results import Measurement

START = "<!-- measured by benchmarks.kv -->"
END = "<!-- end of what was measured -->"

_TITLES = {
    "values": "Large values, embedded",
    "small": "Small values",
    "memory": "Memory beside the values",
    "prefix": "Prefix lookup",
    "disk": "With a directory",
    "logged": "With a directory, values that fit in memory",
    "sidecar": "Through the sidecar",
}


def tables(measurements: Sequence[Measurement], machine: str) -> str:
    """Return a table for each suite: contenders side by side where they are compared, else a row for each figure."""
    parts = [machine]
    for suite, group in groupby(measurements, key=lambda measurement: measurement.suite):
        rows = list(group)
        compared = suite in ("values", "logged", "sidecar")
        parts.append(f"### {_TITLES[suite]}\n\n" + (_side_by_side(rows) if compared else _one_by_one(rows)))
    short = [f"- {_short(row)}" for row in measurements if row.met is False]
    parts.append("### Targets that it does not reach\n\n" + ("\n".join(short) or "None."))
    return "\n\n".join(parts)


def put_into(page: Path, measured: str) -> None:
    """Replace what a page says was measured.

    Raises:
        ValueError: The page has no place for it.
    """
    text = page.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{page} has no lines {START!r} and {END!r}; add them where the tables belong")
    page.write_text(f"{before}{START}\n{measured}\n\n{END}{after}", encoding="utf-8")


def _short(row: Measurement) -> str:
    return f"{row.what}, {row.contender}: {_cell(row)}, the target is {row.target}."


def _side_by_side(rows: Sequence[Measurement]) -> str:
    contenders = list(dict.fromkeys(row.contender for row in rows))
    cells = {(row.what, row.contender): _cell(row) for row in rows}
    lines = [_line(["", *contenders]), _line(["---", *["--:"] * len(contenders)])]
    tasks = dict.fromkeys(row.what for row in rows)
    lines += [_line([task, *(cells.get((task, contender), "") for contender in contenders)]) for task in tasks]
    return "\n".join(lines)


def _one_by_one(rows: Sequence[Measurement]) -> str:
    lines = [_line(["", "", "measured", "target", "reached"]), _line(["---", "---", "--:", "---", "---"])]
    for row in rows:
        reached = {None: "", True: "yes", False: "no"}[row.met]
        lines.append(_line([row.what, row.contender, _cell(row), row.target, reached]))
    return "\n".join(lines)


def _cell(row: Measurement) -> str:
    value = f"{row.value:.2f} {row.unit}"
    return value if row.ratio is None else f"{value} ({row.ratio:.2f}x)"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
