import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_answers_each_request_at_the_node_of_its_kind(run_example: Run) -> None:
    done = run_example("routing_union")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["20 °C are 68 °F", "2026-02-28 is a Saturday", "penguin"]


def test_refuses_an_unknown_kind_and_answers_the_next_request(run_example: Run) -> None:
    done = run_example("routing_union", '{"kind": "fly"}', '{"kind": "reverse", "text": "ba"}')
    assert done.returncode == 1
    assert done.stdout == "ab\n"
    assert "[VALIDATION_FAILED]" in done.stderr
    assert "'convert', 'weekday', 'reverse'" in done.stderr


def test_says_what_is_wrong_with_a_request(run_example: Run) -> None:
    done = run_example("routing_union", '{"kind": "convert", "celsius": -300}', "{")
    assert done.returncode == 1
    assert "celsius: Input should be greater than or equal to -273.15" in done.stderr
    assert "EOF while parsing" in done.stderr
