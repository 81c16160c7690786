"""Other runtimes at the same tasks, each in a process and an environment of its own, in the rounds of the same run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.flow._rounds import Case

PEERS = {
    "langgraph": "benchmarks.flow.peers.langgraph",
    "llama-index-workflows": "benchmarks.flow.peers.llama_index_workflows",
    "pydantic-graph": "benchmarks.flow.peers.pydantic_graph",
}
"""Which module serves each, named by what is installed."""


class Peer:
    """A process that measures samples when it is told to."""

    def __init__(self, name: str, python: Path) -> None:
        self.name = name
        command = [str(python), "-m", PEERS[name]]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        code = f"from importlib.metadata import version; print(version({name!r}))"
        answer = subprocess.run([str(python), "-c", code], check=True, stdout=subprocess.PIPE, text=True)
        self.version = answer.stdout.strip()

    async def sample(self, count: int, *, task: str, callers: int, clock: str) -> float:
        """Measure one sample; nothing else runs meanwhile.

        Raises:
            RuntimeError: the process has ended; what it said stands above.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"task": task, "callers": callers, "count": count, "clock": clock}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended at {order}: exit status {self._process.wait()}")
        return float(json.loads(answer)["seconds"])

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextmanager
def running(directory: Path) -> Iterator[list[Peer]]:
    """Install every peer below `directory` where it is not yet, and run its process."""
    with ExitStack() as stack:
        peers = []
        for name in PEERS:
            peer = Peer(name, _installed(name, directory / name))
            stack.callback(peer.close)
            peers.append(peer)
        yield peers


def cases(peer: Peer, floors: Sequence[Case], *, quick: bool) -> list[Case]:
    """Return the peer's cases, one for each floor whose task it has."""
    found = []
    for task, floor, callers, count in _tasks(floors, quick=quick):
        clock = "wall" if floor.part == "c" else "cpu"

        async def sample(count: int, task: str = task, callers: int = callers, clock: str = clock) -> float:
            return await peer.sample(count, task=task, callers=callers, clock=clock)

        found.append(
            Case(
                part=floor.part,
                task=floor.task,
                payloads=floor.payloads,
                contender=peer.name,
                count=count,
                sample=sample,
                floors=(floor,),
            )
        )
    return found


_SAMPLES = {
    ("3 nodes, one at a time", "bare"): ("bare", 1, 100),
    ("3 nodes, one at a time", "validated"): ("validated", 1, 100),
    ("3 nodes, 64 in flight", "bare, 64 tasks asking"): ("bare", 64, 256),
    ("3 nodes, 64 in flight", "validated"): ("validated", 64, 256),
    ("fan-out to 8 and join, one at a time", "bare"): ("fan-out", 1, 100),
    ("fan-out to 8 and join, 64 in flight", "bare"): ("fan-out", 64, 256),
}
"""For a task and its payloads: the peer's name for it, how many tasks ask, and how often. I/O is found by its part."""


def _tasks(floors: Sequence[Case], *, quick: bool) -> Iterator[tuple[str, Case, int, int]]:
    for floor in floors:
        if floor.part == "c":
            yield "io", floor, floor.count, floor.count
        elif (floor.task, floor.payloads) in _SAMPLES:
            task, callers, count = _SAMPLES[floor.task, floor.payloads]
            yield task, floor, callers, count // 8 if quick else count


def _installed(name: str, environment: Path) -> Path:
    python = environment / "bin" / "python"
    if not python.exists():
        print(f"installing {name} into {environment}", file=sys.stderr, flush=True)
        _uv("venv", "--quiet", "--python", sys.executable, str(environment))
        _uv("pip", "install", "--quiet", "--python", str(python), name)
    return python


def _uv(*arguments: str) -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise SystemExit("uv is not on PATH, and --peers installs with it: pip install uv")
    subprocess.run([uv, *arguments], check=True)
