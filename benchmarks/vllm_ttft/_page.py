"""The results as Markdown, for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.kv._results import Measurement

_TITLES = {
    "cold": "Prompts that nobody has seen",
    "warm": "The same prompt again",
    "partly": "Prompts that share a beginning",
    "restart": "After a restart of the engine",
    "miss": "What a miss costs",
    "throughput": "Throughput when nothing was seen",
    "agents": "Agents that take turns",
    "device": "The device layer alone",
}


def tables(measurements: Sequence[Measurement], where: str, missing: dict[str, str]) -> str:
    """Return a table for each suite, what was missed, and what was not measured."""
    parts = [where]
    for suite, group in groupby(measurements, key=lambda one: one.suite):
        lines = ["|  |  | measured | target | reached |", "| --- | --- | --: | --- | --- |"]
        lines += [_line(row) for row in group]
        parts.append(f"### {_TITLES[suite]}\n\n" + "\n".join(lines))
    missed = [row for row in measurements if row.met is False]
    short = [f"- {row.what}, {row.contender}: {_cell(row)}, the target is {row.target}." for row in missed]
    parts.append("### Targets that it does not reach\n\n" + ("\n".join(short) or "None."))
    absent = [f"- {name}: {reason}" for name, reason in missing.items()]
    parts.append("### Not measured\n\n" + ("\n".join(absent) or "Nothing."))
    return "\n\n".join(parts)


def put_into(page: Path, name: str, measured: str) -> None:
    """Replace what a page says was measured by the benchmark of that name.

    Raises:
        ValueError: The page has no place for it.
    """
    start, end = f"<!-- measured by {name} -->", f"<!-- end of {name} -->"
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no lines {start!r} and {end!r}; add them where the tables belong")
    page.write_text(f"{before}{start}\n{measured}\n\n{end}{after}", encoding="utf-8")


def _line(row: Measurement) -> str:
    reached = {None: "", True: "yes", False: "no"}[row.met]
    return f"| {row.what} | {row.contender} | {_cell(row)} | {row.target} | {reached} |"


def _cell(row: Measurement) -> str:
    value = f"{row.value:,.1f} {row.unit}"
    return value if row.ratio is None else f"{value} ({row.ratio:.2f}x {row.floor})"
