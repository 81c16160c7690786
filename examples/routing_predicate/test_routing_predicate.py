import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_sends_each_ticket_to_the_desks_it_names(run_example: Run) -> None:
    done = run_example("routing_predicate")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "'My invoice is wrong' -> billing: we look into your payments",
        "'The app crashes on start' -> technical: we look into the fault",
        "'An error, and I want a refund' -> billing: we look into your payments; technical: we look into the fault",
        "'Hello there' -> front: how can we help?",
    ]


def test_refuses_an_empty_ticket_before_any_desk_sees_it(run_example: Run) -> None:
    done = run_example("routing_predicate", "")
    assert done.returncode == 1
    assert "[VALIDATION_FAILED] invalid input: text: String should have at least 1 character" in done.stderr
    assert "node 'receive'" in done.stderr
