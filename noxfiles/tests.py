"""Tests that run from the source tree: of the workspace itself, of the examples, and for coverage."""

from __future__ import annotations

import nox

from noxfiles import _environments, _interpreters, _packages

COVERED_PERCENT = {"penguiflow-core": 95}
COVERED_PERCENT_DEFAULT = 85


@nox.session
def workspace(session: nox.Session) -> None:
    """Test that the checks fail when they should, and that the packages keep the rules of the house."""
    _environments.sync(session, "dev", "examples")
    session.run("pytest", "tests/workspace", *session.posargs)


@nox.session(python=_interpreters.full())
def examples(session: nox.Session) -> None:
    """Run every example as its user would."""
    _environments.sync(session, "examples", "test")
    session.run("pytest", "examples", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure the lines that tests reach, and fail where a package falls below its share."""
    _environments.sync(session, "contract", "coverage", "test", "examples")
    measured = [package for package in _packages.pure() if package.modules]
    sources = [f"--cov={module}" for package in measured for module in package.modules]
    tests = [str(package.tests) for package in _packages.pure()]
    session.run("pytest", *sources, "--cov-report=xml", "--cov-report=", *tests, "tests/integration", *session.posargs)
    session.run("python", "tools/coverage_badge.py", "coverage.xml", "docs/coverage.svg")
    for package in measured:
        least = COVERED_PERCENT.get(package.name, COVERED_PERCENT_DEFAULT)
        session.log(f"{package.name}: at least {least} %")
        include = ",".join(f"{package.source}/{module}/*" for module in package.modules)
        session.run("coverage", "report", "--skip-covered", f"--include={include}", f"--fail-under={least}")


@nox.session(default=False)
def full_scale(session: nox.Session) -> None:
    """Run the fault and property tests with their full counts."""
    _environments.sync(session, "contract", "test", "examples")
    tests = [str(package.tests) for package in _packages.pure()]
    session.run(
        "pytest", "-m", "scaled", "--timeout=1800", *tests, *session.posargs, env={"PENGUIFLOW_TEST_SCALE": "full"}
    )
