import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_answers_each_part_by_the_playbook(run_example: Run) -> None:
    done = run_example("playbook_retrieval")
    assert done.returncode == 0, done.stderr
    answers, _, graph = done.stdout.partition("\n\n")
    assert answers.splitlines() == [
        "How deep can an emperor penguin dive?",
        "  An emperor penguin can dive deeper than 500 metres. [sample.txt]",
        "why do neighbours steal stones?",
        "  Stones are scarce, so neighbours steal them from each other. [sample.txt]",
    ]
    assert "subgraph" in graph
    assert '["retrieval"]' in graph


def test_answers_from_another_file(run_example: Run, tmp_path: Path) -> None:
    (tmp_path / "krill.txt").write_text("Krill is small.\n\nWhales eat krill. They sing.\n")
    done = run_example("playbook_retrieval", "What do whales eat?", tmp_path / "krill.txt")
    assert done.stdout.startswith("What do whales eat?\n  Whales eat krill. [krill.txt]\n")


def test_fails_with_the_error_of_the_playbook(run_example: Run) -> None:
    done = run_example("playbook_retrieval", "zeppelins")
    assert done.returncode == 1
    assert "nothing in sample.txt fits 'zeppelins' (node 'search'" in done.stderr


def test_the_deadline_of_the_caller_holds(run_example: Run) -> None:
    done = run_example("playbook_retrieval", "--deadline-s", "0")
    assert done.returncode == 1
    assert "[DEADLINE_EXCEEDED]" in done.stderr


def test_names_a_file_that_is_not_there(run_example: Run, tmp_path: Path) -> None:
    done = run_example("playbook_retrieval", "krill", tmp_path / "missing.txt")
    assert done.returncode == 1
    assert "missing.txt" in done.stderr
