"""Runs the example as its user does."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pegaflow", reason="pegaflow is built by cargo; see CONTRIBUTING.md")


def test_two_workers_load_what_the_scheduler_leased() -> None:
    script = Path(__file__).with_name("share.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=25, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "serving 64.0 MiB",
        "6 of 8 blocks are there",
        "worker even: 3 blocks loaded, 0 failed",
        "worker odd: 3 blocks loaded, 0 failed",
        "hit rate 43%",
        "sidecar ended with 0",
    ]
