"""What the tests of the workspace stand on: its root, a copy to break, and its own scripts to run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("conftest.py", "noxfile.py", "noxfiles", "packages", "pyproject.toml", "tools", "uv.lock")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages and of what checks them, free to be broken."""
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache", "*.so", "target")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path)
    return tmp_path


@pytest.fixture
def python() -> Run:
    """Run this Python with arguments in a directory, and return what it printed and its status."""

    def run(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        # The names of this environment would reach the sessions of a copy.
        left_out = {"UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "VIRTUAL_ENV"}
        environment = {name: value for name, value in os.environ.items() if name not in left_out} | {"NO_COLOR": "1"}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    return run
