import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_tenants_take_the_paths_of_their_policy(run_example: Run) -> None:
    done = run_example("routing_policy")
    assert done.returncode == 0, done.stderr
    assert [line.split(": ")[:2] for line in done.stdout.splitlines()] == [
        ["tenant-a", "by similar"],
        ["tenant-b", "by hybrid"],
        ["tenant-c", "by keyword"],
    ]


def test_another_policy_changes_the_paths_and_no_code(run_example: Run, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps({"tenant-a": "hybrid", "tenant-b": ["keyword", "similar"]}))
    done = run_example("routing_policy", "whales", "--policy", tmp_path / "policy.json")
    assert sorted(line.split(": ")[1] for line in done.stdout.splitlines()) == [
        "by hybrid",
        "by keyword",
        "by keyword",
        "by similar",
    ]
    assert done.stdout.count("Krill is the main food of many whales.") == 4


def test_a_policy_that_names_no_node_fails_the_trace(run_example: Run, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("tenant-a: telepathy\n")
    done = run_example("routing_policy", "--policy", tmp_path / "policy.yaml")
    assert done.returncode == 1
    assert "[UNKNOWN_TARGET] 'telepathy' is not a successor of 'retrieval'" in done.stderr
    assert "'hybrid', 'keyword', 'similar'" in done.stderr


def test_a_file_without_a_mapping_is_no_policy(run_example: Run, tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- tenant-a\n")
    (tmp_path / "broken.yaml").write_text("{")
    for name, reason in (("list.yaml", "needs a mapping"), ("broken.yaml", "cannot be read"), ("none.yaml", "No such")):
        done = run_example("routing_policy", "--policy", tmp_path / name)
        assert done.returncode == 1
        assert reason in done.stderr
