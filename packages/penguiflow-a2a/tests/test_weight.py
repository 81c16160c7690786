"""What importing the package costs: only what is used."""

import subprocess
import sys

import pytest

HEAVY = ("httpx", "pydantic", "fastapi", "starlette", "uvicorn", "joserfc")


def imported(statement: str) -> set[str]:
    """Return which of the heavy packages a fresh interpreter holds after a statement."""
    program = f"{statement}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import penguiflow_a2a", set()),
        ("from penguiflow_a2a import A2AClientTransport", {"httpx", "pydantic"}),
        ("from penguiflow_a2a.types import Task", {"pydantic"}),
    ],
)
def test_only_what_is_used_is_imported(statement: str, expected: set[str]) -> None:
    assert imported(statement) == expected


def test_every_name_is_there_and_another_is_an_attribute_error() -> None:
    import penguiflow_a2a

    assert all(getattr(penguiflow_a2a, name).__module__.startswith("penguiflow_a2a") for name in penguiflow_a2a.__all__)
    assert set(penguiflow_a2a.__all__) <= set(dir(penguiflow_a2a))
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        penguiflow_a2a.nothing_of_that_name  # noqa: B018
