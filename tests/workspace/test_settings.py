"""What the settings of the tools promise, they do."""

from pathlib import Path

import pytest

from .conftest import Run

MODULE = "packages/penguiflow-core/src/penguiflow/_planted.py"
TEST = "tests/test_planted.py"


def nested(depth: int) -> str:
    """Return a function with as many branches."""
    branches = "".join(f"    if x == {number}:\n        return {number}\n" for number in range(depth))
    return f"def f(x):\n{branches}    return -1\n"


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("from typing import Optional\n\nx: Optional[int] = None\n", "UP045"),
        ("import logging\n\nlogging.info(f'{1}')\n", "G004"),
        ("import time\n\n\nasync def f():\n    time.sleep(1)\n", "ASYNC251"),
        (nested(12), "C901"),
    ],
)
def test_a_rule_of_the_house_is_linted(copy: Path, python: Run, source: str, rule: str) -> None:
    (copy / MODULE).write_text(source, encoding="utf-8")

    done = python("-m", "ruff", "check", "--no-cache", "--output-format=concise", MODULE, cwd=copy)

    assert done.returncode == 1
    assert rule in done.stdout


def test_a_function_of_the_highest_complexity_passes(copy: Path, python: Run) -> None:
    (copy / MODULE).write_text(nested(11), encoding="utf-8")

    done = python("-m", "ruff", "check", "--no-cache", "--select=C901", MODULE, cwd=copy)

    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x: int = 'a'\n", "[assignment]"),
        ("def f(x):\n    return x\n", "[no-untyped-def]"),
        ("import pydantic\n\n\nclass M(pydantic.BaseModel):\n    a: int\n\n\nM(a='1', b=2)\n", "[call-arg]"),
    ],
)
def test_a_type_error_is_found(copy: Path, python: Run, source: str, problem: str) -> None:
    (copy / MODULE).write_text(source, encoding="utf-8")

    done = python("-m", "mypy", MODULE, cwd=copy)

    assert done.returncode == 1
    assert "_planted.py:" in done.stdout
    assert problem in done.stdout


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import warnings\ndef test_it():\n    warnings.warn('old')\n", "UserWarning: old"),
        ("def test_it():\n    import asyncio\n    asyncio.run(asyncio.sleep(60))\n", "Timeout (>0.5s)"),
        ("import pytest\n@pytest.mark.unknown\ndef test_it():\n    pass\n", "'unknown' not found in `markers`"),
        ("async def test_it():\n    assert False, 'it ran'\n", "it ran"),
        (
            "async def test_it():\n    object().__aenter__\nasync def f(): ...\ndef test_f():\n    f()\n",
            "never awaited",
        ),
    ],
)
def test_a_careless_test_fails(copy: Path, python: Run, source: str, problem: str) -> None:
    (copy / "tests").mkdir()
    (copy / TEST).write_text(source, encoding="utf-8")

    done = python("-m", "pytest", "-p", "no:cacheprovider", "--timeout=0.5", TEST, cwd=copy)

    assert done.returncode in {1, 2}
    assert problem in done.stdout


def test_the_default_timeout_bounds_every_test(copy: Path, python: Run) -> None:
    (copy / "tests").mkdir()
    (copy / TEST).write_text("def test_it(pytestconfig):\n    assert pytestconfig.getini('timeout') == '30'\n")

    done = python("-m", "pytest", "-p", "no:cacheprovider", TEST, cwd=copy)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("scale", "examples", "count"), [("short", 50, 2), ("full", 2000, 9)])
def test_the_scale_chooses_how_much_is_tried(
    copy: Path, python: Run, monkeypatch: pytest.MonkeyPatch, scale: str, examples: int, count: int
) -> None:
    monkeypatch.setenv("PENGUIFLOW_TEST_SCALE", scale)
    (copy / "tests").mkdir()
    (copy / TEST).write_text(
        "import hypothesis\ndef test_it(scale):\n"
        f"    assert (hypothesis.settings().max_examples, scale(2, 9)) == ({examples}, {count})\n"
    )

    done = python("-m", "pytest", "-p", "no:cacheprovider", "-m", "scaled", TEST, cwd=copy)

    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_an_unknown_scale_is_refused(python: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENGUIFLOW_TEST_SCALE", "tiny")

    done = python("-m", "pytest", "--collect-only", "tests/integration")

    assert done.returncode == 4
    assert "PENGUIFLOW_TEST_SCALE is 'tiny', expected one of short, full" in done.stderr
