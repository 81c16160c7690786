import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_saves_the_diagrams_that_stand_in_the_repository(run_example: Run, tmp_path: Path, hash_seed: str) -> None:
    done = run_example("visualizer", tmp_path, PYTHONHASHSEED=hash_seed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "diagram.md"), str(tmp_path / "diagram.dot")]
    for name in ("diagram.md", "diagram.dot"):
        assert (tmp_path / name).read_text() == Path(__file__).with_name(name).read_text()


def test_both_diagrams_show_every_node_loop_and_subflow(run_example: Run, tmp_path: Path) -> None:
    run_example("visualizer", tmp_path)
    for name in ("diagram.md", "diagram.dot"):
        diagram = (tmp_path / name).read_text()
        for node in ("receive", "choose sources", "search_web", "search_files", "gather", "decide", "list_files"):
            assert f'"{node}"' in diagram.replace("#95;", "_")
        assert diagram.count("loop") == 1
        assert diagram.count("subgraph") == 1


def test_says_where_it_cannot_write(run_example: Run, tmp_path: Path) -> None:
    done = run_example("visualizer", tmp_path / "missing")
    assert done.returncode == 1
    assert f"{tmp_path}/missing/diagram.md is not written: No such file or directory" in done.stderr
