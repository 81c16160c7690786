"""The code of the documentation runs as a reader would run it, or is said not to."""

from pathlib import Path

import pytest

from .conftest import Run


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page to write."""
    return tmp_path / "page.md"


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("```python\nprint(undefined)\n```\n", "NameError: name 'undefined' is not defined"),
        ("```python\nimport warnings\n\nwarnings.warn('old')\n```\n", "UserWarning: old"),
        ("```sh\nfalse | true\n```\n", "exit status 1"),
        ("```json\n{'a': 1}\n```\n", "Expecting property name"),
        ("```toml\na =\n```\n", "page.md:2"),
    ],
)
def test_a_block_that_fails_is_named(page: Path, python: Run, block: str, problem: str) -> None:
    page.write_text(block, encoding="utf-8")

    done = python("tools/docs_code.py", page)

    assert done.returncode == 1
    assert "page.md" in done.stdout
    assert problem in done.stdout


def test_blocks_of_a_page_share_their_names_and_may_await(page: Path, python: Run) -> None:
    page.write_text(
        "```python\nimport asyncio\n\nasync def one():\n    return 1\n```\n\n"
        "- in a list\n\n  ```python\n  assert await one() == 1\n  await asyncio.sleep(0)\n  ```\n",
        encoding="utf-8",
    )

    done = python("tools/docs_code.py", page)

    assert done.returncode == 0, done.stdout
    assert "2 blocks run" in done.stdout


def test_a_traceback_names_the_line_of_the_page(page: Path, python: Run) -> None:
    page.write_text("# Title\n\n```python\nx = 1\nraise ValueError(x)\n```\n", encoding="utf-8")

    done = python("tools/docs_code.py", page)

    assert 'page.md", line 5' in done.stdout


def test_a_block_with_a_reason_does_not_run(page: Path, python: Run) -> None:
    page.write_text("<!-- not run: it needs a key -->\n```python\nraise SystemExit(1)\n```\n", encoding="utf-8")

    done = python("tools/docs_code.py", page)

    assert done.returncode == 0
    assert "not run: it needs a key" in done.stdout


def test_a_reason_excuses_only_the_block_below_it(page: Path, python: Run) -> None:
    page.write_text("<!-- not run: slow -->\n```sh\nfalse\n```\n\n```sh\nfalse\n```\n", encoding="utf-8")

    done = python("tools/docs_code.py", page)

    assert done.returncode == 1
    assert "page.md:7: exit status 1" in done.stdout
