"""Runs the example as its user does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

LINE = re.compile(r"^(?:first engine|after a restart): (\d+) of (\d+) .* s: (.*)$", re.MULTILINE)


@pytest.mark.timeout(300)
def test_the_second_engine_computes_what_is_left_of_the_prompt() -> None:
    script = Path(__file__).with_name("warm.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stderr
    first, second = re.findall(
        r"^(?:first engine|after a restart): (\d+) of (\d+) .* s: (.*)$", done.stdout, re.MULTILINE
    )
    assert first[0] == "0"
    assert int(second[0]) == (int(second[1]) - 1) // 32 * 32
    assert first[2] == second[2]
