"""Runs the example as its user does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

LINE = re.compile(r"^(?:first server|after a restart): (\d+) tokens were there: (.*)$", re.MULTILINE)


@pytest.mark.timeout(600)
def test_the_server_hits_after_a_restart_and_says_so_in_its_metrics() -> None:
    script = Path(__file__).with_name("serve.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=580, check=False)

    assert done.returncode == 0, done.stderr
    first, second = re.findall(
        r"^(?:first server|after a restart): (\d+) tokens were there: (.*)$", done.stdout, re.MULTILINE
    )
    assert first[0] == "0"
    assert int(second[0]) > 1000
    assert first[1] == second[1]
