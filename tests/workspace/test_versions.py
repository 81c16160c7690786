"""The release check finds versions that drift apart and changes that nobody is told of."""

import re
import shutil
from pathlib import Path

import pytest

from .conftest import Run

CORE = "packages/penguiflow-core/pyproject.toml"


@pytest.fixture
def release(copy: Path, root: Path) -> Path:
    """A copy that is ready for release."""
    shutil.copy(root / "Cargo.toml", copy)
    for project in (copy / "packages").glob("*/pyproject.toml"):
        (project.parent / "changes").mkdir(exist_ok=True)
        (project.parent / "changes/+planted.added.md").write_text("Added a test.\n", encoding="utf-8")
    return copy


def replace(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(text, encoding="utf-8")


def test_a_train_in_lockstep_passes(release: Path, python: Run) -> None:
    done = python("tools/versions.py", cwd=release)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "problem"),
    [
        (CORE, '^version = ".*"', 'version = "9.9.9"', "the penguiflow train is not in lockstep"),
        (CORE, "^dependencies = \\[", 'dependencies = ["pegaflow>=0.0.1",', "expected pegaflow<0.1,>=0.0"),
        ("packages/penguiflow/pyproject.toml", "penguiflow-core==", "penguiflow-core>=", "expected penguiflow-core=="),
        (
            "packages/pegaflow/pyproject.toml",
            '^version = ".*"',
            'version = "9.9.9"',
            "pegaflow is 9.9.9, the crates are",
        ),
    ],
)
def test_a_version_that_drifts_is_named(
    release: Path, python: Run, file: str, pattern: str, replacement: str, problem: str
) -> None:
    replace(release / file, pattern, replacement)

    done = python("tools/versions.py", cwd=release)

    assert done.returncode == 1
    assert problem in done.stdout


def test_a_missing_fragment_is_named(release: Path, python: Run) -> None:
    shutil.rmtree(release / "packages/penguiflow-core/changes")

    done = python("tools/versions.py", cwd=release)

    assert done.returncode == 1
    assert "penguiflow-core: add a change-log fragment" in done.stdout


def test_a_fragment_of_an_unknown_kind_is_named(release: Path, python: Run) -> None:
    (release / "packages/penguiflow-core/changes/+planted.improved.md").write_text("Improved.\n", encoding="utf-8")

    done = python("tools/versions.py", cwd=release)

    assert done.returncode == 1
    assert "+planted.improved.md: name it" in done.stdout
