"""What a run has measured, ready for JSON."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.flow._rounds import Case


def rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return an object for each case."""
    return [_row(case) for case in cases]


def _row(case: Case) -> dict[str, Any]:
    ratios: list[dict[str, Any]] = [
        {"floor": f"{floor.contender}, {floor.payloads}", "ratio": round(case.ratio_to(floor), 3)}
        for floor in case.floors
    ]
    return {
        "part": case.part,
        "task": case.task,
        "payloads": case.payloads,
        "contender": case.contender,
        "messages": case.count,
        "us_per_message": round(case.per_message_s * 1e6, 3),
        "us_per_message_by_round": [round(seconds * 1e6, 3) for seconds in case.seconds],
        "ratios": ratios,
        "at_most": case.at_most,
        "met": None if case.at_most is None else ratios[-1]["ratio"] <= case.at_most,
    }


def machine() -> dict[str, Any]:
    """Say what is measured on, and how busy that is with other work in this minute."""
    return {
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "kernel": platform.release(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "pydantic": version("pydantic"),
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
