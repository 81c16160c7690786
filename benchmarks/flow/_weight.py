"""What the runtime weighs: how long a fresh process takes to import it, and what is installed with it."""

from __future__ import annotations

import statistics
import subprocess
import sys
from importlib.metadata import requires
from typing import Any

IMPORT_S_AT_MOST = 0.35
_IMPORTS = {
    "penguiflow": "import penguiflow",
    "its dependencies alone": "import anyio; from pydantic import BaseModel, TypeAdapter",
}
_TIMED = "import time; begun = time.process_time(); {}; print(time.process_time() - begun)"


def measure(rounds: int) -> dict[str, Any]:
    """Return import times, medians of processes that took turns, and the direct dependencies of the distribution."""
    seconds: dict[str, list[float]] = {what: [] for what in _IMPORTS}
    for _ in range(rounds):
        for what, statement in _IMPORTS.items():
            seconds[what].append(_import_s(statement))
    import_s = {what: round(statistics.median(taken), 4) for what, taken in seconds.items()}
    return {
        "import_s": import_s,
        "import_s_at_most": IMPORT_S_AT_MOST,
        "requires": [name for name in requires("penguiflow-core") or () if "extra ==" not in name],
        "met": import_s["penguiflow"] <= IMPORT_S_AT_MOST,
    }


def _import_s(statement: str) -> float:
    command = [sys.executable, "-c", _TIMED.format(statement)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
