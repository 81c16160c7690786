"""Runs the example as its user does."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pegaflow", reason="pegaflow is built by cargo; see CONTRIBUTING.md")


def test_every_value_is_verified_after_reopening() -> None:
    script = Path(__file__).with_name("basic.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=25, check=False
    )
    assert done.returncode == 0, done.stderr
    stored, *rest = done.stdout.splitlines()
    assert stored.startswith("stored 32 keys, ")
    assert rest == [
        "verified 31 values after reopening",
        "greeting: hello, value/0: None",
        "removed: True, again: False",
    ]
