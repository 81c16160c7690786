import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_follows_the_facts_to_their_end(run_example: Run) -> None:
    done = run_example("controller_multihop")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "orca lives on algae in the end",
        "  orca eats penguin and seal",
        "  penguin eats fish and krill",
        "  seal eats fish",
        "  fish eats krill",
        "  krill eats algae",
    ]


def test_ends_once_when_the_budget_is_spent(run_example: Run) -> None:
    done = run_example("controller_multihop", "--budget-hops", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Hop budget exhausted after 2 hops\n"


def test_fails_on_what_nobody_knows(run_example: Run) -> None:
    done = run_example("controller_multihop", "unicorn")
    assert done.returncode == 1
    assert "nothing is known of 'unicorn'" in done.stderr
    assert "node 'act'" in done.stderr


def test_refuses_a_negative_budget(run_example: Run) -> None:
    done = run_example("controller_multihop", "--budget-hops", "-1")
    assert done.returncode == 1
    assert "budget_hops" in done.stderr
