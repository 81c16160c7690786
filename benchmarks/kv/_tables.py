"""Results as Markdown, for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from benchmarks.kv._results import Measurement


def tables(measurements: Sequence[Measurement]) -> str:
    """Return a table for each suite: contenders side by side where they are compared, else a row for each figure."""
    parts = []
    for suite, group in groupby(measurements, key=lambda measurement: measurement.suite):
        rows = list(group)
        compared = suite in ("values", "sidecar")
        parts.append(f"## {suite}\n\n" + (_side_by_side(rows) if compared else _one_by_one(rows)))
    return "\n\n".join(parts)


def _side_by_side(rows: Sequence[Measurement]) -> str:
    contenders = list(dict.fromkeys(row.contender for row in rows))
    cells = {(row.what, row.contender): _cell(row) for row in rows}
    lines = [_line(["", *contenders]), _line(["---"] * (len(contenders) + 1))]
    tasks = dict.fromkeys(row.what for row in rows)
    lines += [_line([task, *(cells.get((task, contender), "") for contender in contenders)]) for task in tasks]
    return "\n".join(lines)


def _one_by_one(rows: Sequence[Measurement]) -> str:
    lines = [_line(["", "", "measured", "target", "reached"]), _line(["---"] * 5)]
    for row in rows:
        reached = {None: "", True: "yes", False: "**no**"}[row.met]
        lines.append(_line([row.what, row.contender, _cell(row), row.target, reached]))
    return "\n".join(lines)


def _cell(row: Measurement) -> str:
    value = f"{row.value:.2f} {row.unit}"
    return value if row.ratio is None else f"{value} ({row.ratio:.2f}x)"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
