"""What can be said about the code without running it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nox

from noxfiles import _environments, _interpreters, _packages

ROOTS = ("packages", "tests", "examples", "benchmarks", "tools", "noxfiles", "noxfile.py")

_PEERS = "peers"
"""Tests against packages of others, which only the session that runs them installs: their types are not known here."""


@nox.session(python=False)
def pythons(session: nox.Session) -> None:
    """Say which Pythons the checks run on, and which are missing here."""
    between = ", ".join(_interpreters.between()) or "none"
    missing = ", ".join(_interpreters.missing()) or "none"
    session.log(f"everything runs on {', '.join(_interpreters.full())}; imports and smoke tests on {between}")
    session.log(f"supported, but missing on this machine: {missing}")


@nox.session
def lint(session: nox.Session) -> None:
    """Check the format, the lint rules and the sizes of files and functions."""
    _environments.sync(session, "lint", only=True)
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("python", "tools/sizes.py", *(root for root in ROOTS if Path(root).exists()))


def _suites(directory: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield each directory whose tests share a conftest.py, with those below it that have one of their own.

    To a type checker all of them are modules of one name.
    """
    below = sorted(path.parent for path in directory.rglob("conftest.py") if path.parent != directory)
    for suite in (directory, *below):
        others = [other for other in below if suite in other.parents]
        if any(not any(other in path.parents for other in others) for path in suite.rglob("*.py")):
            yield suite, others


@nox.session
def types(session: nox.Session) -> None:
    """Check the types strictly, and what users' type checkers infer by two of them."""
    _environments.sync(session, "types", "test", "examples")
    session.run("mypy")
    for directory in [*(package.tests for package in _packages.everything()), Path("benchmarks")]:
        for suite, others in _suites(directory):
            if suite.name == _PEERS:
                continue
            excluded = [f"--exclude=^{re.escape(str(other))}/" for other in others]
            session.run("mypy", *excluded, str(suite))
    for example in sorted(path.parent for path in Path("examples").glob("*/flow.py")):
        # A script finds its neighbours by their bare names, and each example has neighbours of its own.
        session.run("mypy", str(example), env={"MYPYPATH": str(example)})
    promised = [path for root in ("packages", "tests") for path in sorted(Path(root).rglob("assert_type*.py"))]
    session.run("pyright", "--pythonpath", f"{session.bin}/python", *map(str, promised))


@nox.session
def layers(session: nox.Session) -> None:
    """Check who imports whom against the contracts in pyproject.toml."""
    _environments.sync(session, "lint", only=True)
    sources = ":".join(str(package.source.resolve()) for package in _packages.everything())
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": sources})


@nox.session
def versions(session: nox.Session) -> None:
    """Check that versions move together, siblings bound each other, and each change has its change-log line."""
    _environments.sync(session, "release", only=True)
    session.run("uv", "lock", "--check", "--quiet")
    session.run("python", "tools/versions.py")
