import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_joins_what_three_branches_found(run_example: Run, tmp_path: Path) -> None:
    text = "penguins swim\npenguins dive, penguins swim\nkrill\n"
    (tmp_path / "birds.txt").write_text(text)
    done = run_example("fanout_join", tmp_path / "birds.txt")
    assert done.returncode == 0, done.stderr
    source, *findings, times = done.stdout.splitlines()
    assert source == "birds.txt"
    assert findings == [
        "3 lines, 7 words",
        "most frequent: penguins, swim, dive",
        f"sha256: {hashlib.sha256(text.encode()).hexdigest()[:16]}…",
    ]
    assert times.count(" ms") == 3


def test_measures_itself_when_no_file_is_named(run_example: Run) -> None:
    assert run_example("fanout_join").stdout.startswith("flow.py\n")


def test_fails_with_the_error_of_the_node_that_failed(run_example: Run, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    missing = run_example("fanout_join", tmp_path / "missing")
    binary = run_example("fanout_join", tmp_path / "binary")
    assert missing.returncode == binary.returncode == 1
    assert "[NODE_EXCEPTION]" in missing.stderr
    assert "No such file" in missing.stderr
    assert "UnicodeDecodeError" in binary.stderr
    assert "node 'read'" in binary.stderr
