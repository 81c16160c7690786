"""Asks the main agent, and cancels it."""

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]
TEXT = "Did you know? They sing; they sleep with half of their brain."


def test_the_writer_streams_through_the_main_agent(run_example: Run) -> None:
    result = run_example("a2a_orchestrator", "whales")

    assert result.returncode == 0, result.stderr
    said, counted, *tasks = result.stdout.splitlines()
    assert said.strip() == TEXT
    assert counted == f"[client] the answer has {len(TEXT.split())} words"
    assert len(tasks) == 2
    assert result.stderr == ""


def test_cancelling_the_main_agent_cancels_the_writer(run_example: Run) -> None:
    result = run_example("a2a_orchestrator", "penguins", "--cancel-after", "3")

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Did you know? … that will do\n")
    assert "[writer] my task was cancelled" in result.stdout
    assert "[client] cancelled" in result.stdout
    assert result.stdout.count("[main] task") == 2


def test_what_an_agent_cannot_do_is_said_by_the_main_agent(run_example: Run) -> None:
    result = run_example("a2a_orchestrator", "mermaids")

    assert result.returncode == 1
    assert "the agent failed" in result.stderr
    assert "mermaids" in result.stderr
    assert "node 'facts'" in result.stderr
