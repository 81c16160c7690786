"""A process that calls an agent and is killed: another one takes up the stream where the agent is."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COUNTED = "".join(f"{number} " for number in range(30))

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a script of this directory; it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, str(HERE / script), *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


@pytest.mark.timeout(120)  # Four processes start, one after the other.
def test_the_next_process_takes_up_the_stream_and_the_agent_is_asked_once(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    (url,) = lines(start("agent.py"), 1)
    first = start("caller.py", url, path)
    begun = lines(first, 3)
    first.kill()
    first.wait()

    *chunks, result = start("caller.py", url, path, "resume").communicate(timeout=60)[0].splitlines()

    assert begun == ["chunk 0", "chunk 1", "chunk 2"]
    assert "".join(chunk.removeprefix("chunk ") for chunk in chunks) == COUNTED
    assert result == "result asked 1 times"
    inspect = [str(Path(sys.executable).parent / "pf"), "inspect", "trace-1", "--state", f"sqlite:///{path}"]
    shown = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout
    assert f"at {url}" in shown
