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


def table(report: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| task | payloads | contender | µs a message | times the floor | at most |"
    yield "|---|---|---|--:|--:|---|"
    for row in report["cases"]:
        ratios = " / ".join(f"{ratio['ratio']:.2f}" for ratio in row["ratios"])
        target = _against(row["ratios"][-1]["ratio"], row["at_most"]) if row["ratios"] else ""
        yield (
            f"| {row['task']} | {row['payloads']} | {row['contender']} | {row['us_per_message']:.2f} "
            f"| {ratios} | {target} |"
        )


def memory_table(report: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a Markdown table of what memory was taken."""
    yield "| contender | traces | peak MB | at most | left MB | at most | resident peak MB |"
    yield "|---|--:|--:|---|--:|---|--:|"
    for row in report["memory"]:
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
