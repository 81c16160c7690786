"""Each contender as a process: the floor and ours in this environment, others in environments of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PEERS = {
    "a2a-sdk": ("a2a-sdk[http-server]", "benchmarks.a2a.contenders.a2a_sdk:app"),
    "fasta2a": ("fasta2a", "benchmarks.a2a.contenders.fasta2a_server:app"),
}
"""What is installed for each, and what is served."""
START_S = 30.0


@dataclass(frozen=True)
class Server:
    """A contender that listens."""

    name: str
    version: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def busy_s(self) -> float:
        """The processor time of its process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory_bytes(self) -> int:
        """The resident memory of its process."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * 4096


@contextmanager
def running(environments: Path, *, with_peers: bool) -> Iterator[list[Server]]:
    """Start every contender, and stop them at the end."""
    with ExitStack() as stack:
        here = Path(sys.executable)
        servers = [
            _start(stack, "floor", "starlette", here, "benchmarks.a2a.contenders.floor:app"),
            _start(stack, "penguiflow-a2a", "penguiflow-a2a", here, "benchmarks.a2a.contenders.penguiflow:app"),
        ]
        for name, (requirement, application) in PEERS.items() if with_peers else ():
            python = _installed(requirement, environments / name)
            servers.append(_start(stack, name, name, python, application))
        yield servers


def _start(stack: ExitStack, name: str, distribution: str, python: Path, application: str) -> Server:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [
        str(python),
        "-m",
        "uvicorn",
        application,
        "--port",
        str(port),
        "--log-level",
        "error",
        "--no-access-log",
    ]
    # All with the same HTTP parser and event loop, whatever else is installed beside them.
    process = subprocess.Popen([*command, "--http", "h11", "--loop", "asyncio"])
    stack.callback(_stop, process)
    ends_at = time.monotonic() + START_S
    while not _listens(port):
        if process.poll() is not None or time.monotonic() > ends_at:
            raise RuntimeError(f"{name} did not start; what it said stands above")
        time.sleep(0.05)
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    answer = subprocess.run([str(python), "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return Server(name, answer.stdout.strip(), port, process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _installed(requirement: str, environment: Path) -> Path:
    python = environment / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv")
        if uv is None:
            raise SystemExit("uv is not on PATH, and --peers installs with it: pip install uv")
        print(f"installing {requirement} into {environment}", file=sys.stderr, flush=True)
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
        installing = [uv, "pip", "install", "--quiet", "--python", str(python), requirement, "uvicorn"]
        subprocess.run(installing, check=True)
    return python
