"""Sidecars and their clients as processes of their own."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import pytest

import pegaflow

DEADLINE_S = 20.0


@dataclass(frozen=True)
class Client:
    """A process that is connected to a sidecar, and the line that it printed."""

    process: subprocess.Popen[str]
    announced: str

    def kill(self) -> None:
        """Send SIGKILL and wait until the process is gone."""
        self.process.kill()
        self.process.wait(DEADLINE_S)


@dataclass(frozen=True)
class Sidecar:
    """A sidecar that serves at `socket`; what it started ends with the test."""

    process: subprocess.Popen[str]
    socket: Path
    announced: str
    started: ExitStack = field(repr=False)

    def connect(self) -> pegaflow.PegaEngine:
        return self.started.enter_context(closing(pegaflow.connect(self.socket)))

    def run_client(self, code: str) -> Client:
        """Run `code` in a process where `engine` is connected, and return once it has printed a line."""
        prelude = f"import pegaflow\nengine = pegaflow.connect({str(self.socket)!r})\n"
        return Client(*_spawn(self.started, [sys.executable, "-W", "ignore", "-c", prelude + code]))

    def end(self) -> int:
        """Send SIGTERM and give the exit status."""
        self.process.terminate()
        return self.process.wait(DEADLINE_S)

    def await_figure(self, name: str, *, at_least: int) -> None:
        """Ask until a figure that another process is about to change has arrived."""
        engine = self.connect()
        deadline = monotonic() + DEADLINE_S
        while engine.stats()[name] < at_least:
            assert monotonic() < deadline, f"{name} is {engine.stats()[name]}, not {at_least}"


def _spawn(started: ExitStack, command: list[str]) -> tuple[subprocess.Popen[str], str]:
    process = started.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    started.callback(process.kill)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"{command} ended with {process.wait(DEADLINE_S)}"
    return process, line


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Sidecar]]:
    """Start a sidecar with these arguments."""
    with ExitStack() as started:

        def start(*arguments: str) -> Sidecar:
            socket = tmp_path / "sidecar.sock"
            command = [sys.executable, "-m", "pegaflow", "serve", "--socket", str(socket), *arguments]
            process, line = _spawn(started, command)
            return Sidecar(process, socket, line, started)

        yield start
