"""Runs of pytest within a test."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest


class Outcomes:
    """A pytest plugin that keeps how each test ended."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.passed: list[str] = []
        self.skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        if report.skipped:
            self.skipped[name] = report.longreprtext
        elif report.failed:
            self.failed[name] = f"{report.when}: {report.longreprtext}"
        elif report.when == "call":
            self.passed.append(name)


Run: TypeAlias = Callable[..., Outcomes]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return the function that runs pytest as a user would whose configuration says nothing."""
    settings = tmp_path / "pytest.ini"
    settings.write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n", encoding="utf-8")

    def run_pytest(*arguments: str) -> Outcomes:
        outcomes = Outcomes()
        plugins = ("-p", "no:cacheprovider", "-p", "no:timeout")
        pytest.main(["-q", "-c", str(settings), "--import-mode=importlib", *plugins, *arguments], plugins=[outcomes])
        return outcomes

    return run_pytest
