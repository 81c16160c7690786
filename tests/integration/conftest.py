"""The integration tests use what is installed, in processes of their own where the process matters."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[..., str]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Run source code in a new process with warnings as errors, and return what it printed."""

    def run(source: str, **environment: str) -> str:
        command = [sys.executable, "-W", "error", "-c", source]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
