"""What a run has measured, as Markdown for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BEGIN = "<!-- measured by benchmarks.flow -->"
END = "<!-- end of what was measured -->"

PARTS = {
    "a": "Three nodes in a row",
    "b": "Fan-out and join",
    "c": "Input and output",
    "d": "Many traces",
    "p": "What a runtime could be built of",
}


def render(report: dict[str, Any]) -> str:
    """Return the tables, with where and how they were measured and which bounds were not kept."""
    where = report["machine"]
    peers = "".join(f", {name} {number}" for name, number in report["peers"].items())
    lines = [
        f"{where['measured'][:10]}: {where['cpus']} CPUs of {where['processor'] or 'unknown processor'}, "
        f"Python {where['python']}, pydantic {where['pydantic']}{peers}; medians of {report['rounds']} rounds; "
        f"load average before the run {where['load_average']}.",
        "",
    ]
    for part, title in PARTS.items():
        rows = [row for row in report["cases"] if row["part"] == part]
        if rows:
            lines += [f"### {title}", "", *_case_table(rows), ""]
    if report["memory"]:
        lines += ["### Memory", "", *_memory_table(report["memory"]), ""]
    if report["weight"] is not None:
        lines += ["### Weight", "", *_weight_lines(report["weight"]), ""]
    return "\n".join([*lines, "### Bounds that it does not reach yet", "", *_missed(report)])


def put_into(path: Path, report: dict[str, Any]) -> None:
    """Replace what stands between the two markers of a page by the tables.

    Raises:
        ValueError: the page lacks the markers.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} lacks the markers {BEGIN} and {END}; put them where the tables belong")
    path.write_text(f"{before}{begin}\n\n{render(report)}\n\n{end}{after}", encoding="utf-8")


def _case_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| task | payloads | contender | µs each | times the floor | at most |"
    yield "|---|---|---|--:|--:|---|"
    order = {(row["task"], row["payloads"]): index for index, row in reversed(list(enumerate(rows)))}
    for row in sorted(rows, key=lambda row: order[row["task"], row["payloads"]]):
        ratios = " / ".join(f"{ratio['ratio']:.2f}" for ratio in row["ratios"])
        bound = _against(row["ratios"][-1]["ratio"], row["at_most"]) if row["ratios"] else ""
        yield (
            f"| {row['task']} | {row['payloads']} | {row['contender']} | {row['us_per_message']:.2f} "
            f"| {ratios} | {bound} |"
        )


def _memory_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| contender | traces | peak MB | at most | left MB | at most | resident peak MB |"
    yield "|---|--:|--:|---|--:|---|--:|"
    for row in rows:
        peak_bound = _against(row["peak_mb"], row["peak_mb_at_most"])
        left_bound = _against(row["left_mb"], row["left_mb_at_most"])
        resident = "" if row["resident_peak_mb"] is None else f"{row['resident_peak_mb']:.2f}"
        yield (
            f"| {row['contender']} | {row['traces']:,} | {row['peak_mb']:.2f} | {peak_bound} | {row['left_mb']:.2f} "
            f"| {left_bound} | {resident} |"
        )


def _weight_lines(weight: dict[str, Any]) -> Iterator[str]:
    times = [f"{what} {seconds * 1e3:.0f} ms" for what, seconds in weight["import_s"].items()]
    yield (
        f"Imported in a fresh process: {', '.join(times)} "
        f"(at most {_against(weight['import_s']['penguiflow'] * 1e3, weight['import_s_at_most'] * 1e3)}). "
        f"Installed with it: {', '.join(f'`{name}`' for name in weight['requires'])}, and what these need."
    )


def _missed(report: dict[str, Any]) -> Iterator[str]:
    missed = [row for row in report["cases"] if row["met"] is False]
    for row in missed:
        last = row["ratios"][-1]
        yield (
            f"- {row['task']}, {row['payloads']}: {row['contender']} took {last['ratio']:.2f} times as long as "
            f"{last['floor']}; {row['at_most']:g} is the bound."
        )
    for row in report["memory"]:
        if row["met"] is False:
            missed.append(row)
            yield f"- Memory of {row['contender']}: see the table."
    if report["weight"] is not None and not report["weight"]["met"]:
        missed.append(report["weight"])
        yield "- The import takes longer than it should."
    if not missed:
        yield "None in this run."


def _against(value: float, at_most: float | None) -> str:
    return "" if at_most is None else f"{at_most:g} {'✓' if value <= at_most else '**missed**'}"
