"""What a run has measured: as JSON, and as a table for people."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.flow._rounds import Case

BEGIN = "<!-- measured by benchmarks.flow -->"
END = "<!-- end of what was measured -->"


def rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return a JSON-ready object for each case."""
    return [
        {
            "part": case.part,
            "task": case.task,
            "payloads": case.payloads,
            "contender": case.contender,
            "messages": case.count,
            "us_per_message": round(case.per_message_s * 1e6, 3),
            "us_per_message_by_round": [round(seconds * 1e6, 3) for seconds in case.seconds],
            "ratios": [
                {"floor": f"{floor.contender}, {floor.payloads}", "ratio": round(case.ratio_to(floor), 3)}
                for floor in case.floors
            ],
            "at_most": case.at_most,
            "met": None if case.at_most is None else case.ratio_to(case.floors[-1]) <= case.at_most,
        }
        for case in cases
    ]


def machine() -> dict[str, Any]:
    """Say what was measured on."""
    return {
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "pydantic": version("pydantic"),
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def page(report: dict[str, Any]) -> str:
    """Return the tables as Markdown, with where and how they were measured."""
    where = report["machine"]
    peers = "".join(f", {name} {number}" for name, number in report["peers"].items())
    return "\n".join(
        [
            f"{where['measured'][:10]}: {where['cpus']} CPUs of {where['processor'] or 'unknown processor'}, "
            f"Python {where['python']}, pydantic {where['pydantic']}{peers}; medians of {report['rounds']} rounds.",
            "",
            *_case_table(report["cases"]),
            "",
            *_memory_table(report["memory"]),
        ]
    ).rstrip()


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
    path.write_text(f"{before}{begin}\n\n{page(report)}\n\n{end}{after}", encoding="utf-8")


def _case_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| task | payloads | contender | µs a message | times the floor | at most |"
    yield "|---|---|---|--:|--:|---|"
    order = {(row["task"], row["payloads"]): index for index, row in reversed(list(enumerate(rows)))}
    for row in sorted(rows, key=lambda row: order[row["task"], row["payloads"]]):
        ratios = " / ".join(f"{ratio['ratio']:.2f}" for ratio in row["ratios"])
        target = _against(row["ratios"][-1]["ratio"], row["at_most"]) if row["ratios"] else ""
        yield (
            f"| {row['task']} | {row['payloads']} | {row['contender']} | {row['us_per_message']:.2f} "
            f"| {ratios} | {target} |"
        )


def _memory_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield "| contender | traces | peak MB | at most | left MB | at most | resident peak MB |"
    yield "|---|--:|--:|---|--:|---|--:|"
    for row in rows:
        peak_limit = _against(row["peak_mb"], row["peak_mb_at_most"])
        left_limit = _against(row["left_mb"], row["left_mb_at_most"])
        resident = "" if row["resident_peak_mb"] is None else f"{row['resident_peak_mb']:.2f}"
        yield (
            f"| {row['contender']} | {row['traces']:,} | {row['peak_mb']:.2f} | {peak_limit} | {row['left_mb']:.2f} "
            f"| {left_limit} | {resident} |"
        )


def _against(value: float, at_most: float | None) -> str:
    return "" if at_most is None else f"{at_most:g} {'✓' if value <= at_most else '**missed**'}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
