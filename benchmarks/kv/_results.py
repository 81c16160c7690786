"""What a run has measured, and how it is shown."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """One contender at one task."""

    suite: str
    what: str
    contender: str
    value: float
    unit: str
    ratio: float | None = None
    """To the floor that was measured in the same rounds."""
    floor: str = ""
    target: str = ""
    """What the engine has set itself, in words that start with its comparison."""
    met: bool | None = None
    """Whether the target was reached; None where there is none."""


def write(path: Path, measurements: Sequence[Measurement], missing: dict[str, str], options: dict[str, object]) -> None:
    """Write everything as JSON, with the machine it was measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "processor": _processor(), "kernel": platform.release()},
        "python": platform.python_version(),
        "options": options,
        "missing": missing,
        "measurements": [dataclasses.asdict(measurement) for measurement in measurements],
    }
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def show(measurement: Measurement) -> str:
    """Return one line for people."""
    ratio = f"{measurement.ratio:6.2f}x {measurement.floor}" if measurement.ratio is not None else ""
    verdict = {None: "", True: "  ok", False: "  SHORT"}[measurement.met]
    target = f"  [{measurement.target}]" if measurement.target else ""
    return (
        f"{measurement.what:38} {measurement.contender:18} {measurement.value:10.3f} {measurement.unit:6} "
        f"{ratio}{target}{verdict}"
    )


def machine() -> str:
    """Return where this is measured, and how busy the machine has been: call it before the run."""
    today = datetime.datetime.now(datetime.UTC).date()
    return (
        f"Measured on {today} with {os.cpu_count()} CPUs ({_processor()}), Python {platform.python_version()}. "
        f"On average {os.getloadavg()[0]:.1f} processes wanted a CPU in the minute before."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
