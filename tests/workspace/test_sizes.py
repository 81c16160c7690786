"""The size check fails beyond each of its limits, and only beyond."""

from pathlib import Path

import pytest

from .conftest import Run


def function(lines: int, name: str = "work") -> str:
    return f"def {name}():\n" + "    pass\n" * (lines - 1)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (function(91), "91 lines, 90 are allowed in a function"),
        (function(26, "test_it"), "26 lines, 25 are allowed in a test"),
        ("x = 1\n" * 801, "801 lines, 800 are allowed in a file"),
        ("x = 1\n" * 221, "the median file has 221 lines, 220 are allowed"),
        (function(41), "95% of functions have up to 41 lines, 40 are allowed"),
    ],
)
def test_what_is_too_long_is_named(tmp_path: Path, python: Run, source: str, problem: str) -> None:
    (tmp_path / "long.py").write_text(source, encoding="utf-8")

    done = python("tools/sizes.py", tmp_path)

    assert done.returncode == 1
    assert problem in done.stdout


def test_what_is_just_short_enough_passes(tmp_path: Path, python: Run) -> None:
    (tmp_path / "short.py").write_text(function(40) + function(25, "test_it") + "x = 1\n" * 155, encoding="utf-8")

    done = python("tools/sizes.py", tmp_path)

    assert done.returncode == 0, done.stdout
    assert "longest 220" in done.stdout
