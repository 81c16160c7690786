"""Runs the examples as their users do: each in a process of its own, from the root of the repository."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent
PATIENCE_S = 25


@pytest.fixture
def start_example() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `examples/NAME/flow.py` with arguments and further environment variables; a warning fails it."""
    started: list[subprocess.Popen[str]] = []
    # A shell that runs the tests in the background makes its children ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(name: str, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", f"examples/{name}/flow.py", *map(str, arguments)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENAI_")} | variables
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(command, cwd=EXAMPLES.parent, env=environment, stdout=pipe, stderr=pipe, text=True)
        )
        return started[-1]

    yield start
    signal.signal(signal.SIGINT, before)
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run_example(
    start_example: Callable[..., subprocess.Popen[str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `examples/NAME/flow.py` to its end, and return its status and what it printed."""

    def run(name: str, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        process = start_example(name, *arguments, **variables)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return run
