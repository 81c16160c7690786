"""The benchmark of the state stores runs and says what it measured; how fast anything is, no test asks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = "# Speed\n\n<!-- measured by benchmarks.state -->\nold\n<!-- end of what was measured -->\n\nThe end.\n"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the short form of the benchmark once and return the page it wrote its tables into."""
    page = tmp_path_factory.mktemp("benchmark") / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    options = ["--quick", "--json", str(page.with_name("state.json")), "--page", str(page)]
    subprocess.run([sys.executable, "-m", "benchmarks.state", *options], cwd=ROOT, check=True, timeout=100)
    return page


@pytest.fixture(scope="module")
def report(page: Path) -> dict[str, Any]:
    """Return what the short form measured."""
    measured: dict[str, Any] = json.loads(page.with_name("state.json").read_text(encoding="utf-8"))
    return measured


def test_both_databases_are_measured_in_each_round(report: dict[str, Any]) -> None:
    assert {case["part"] for case in report["cases"]} == {"sqlite", "postgres"}
    for case in report["cases"]:
        assert len(case["us_per_message_by_round"]) == report["rounds"]
        assert min(case["us_per_message_by_round"]) > 0


def test_every_store_has_a_floor_and_a_bound_where_it_promises_as_much(report: dict[str, Any]) -> None:
    stores = [case for case in report["cases"] if case["contender"].startswith(("save_event", "record_step"))]
    assert len(stores) == 16
    for case in stores:
        assert len(case["ratios"]) == 1
        bound = {"64 writers": 2.5, "1 writer": 2.0}[case["task"]] if case["contender"].endswith("group") else None
        assert case["at_most"] == bound
        assert case["met"] is (None if bound is None else case["ratios"][-1]["ratio"] <= bound)


def test_the_tables_replace_what_stood_between_the_markers(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "old" not in text.split("\n")
    assert text.endswith("The end.\n")
    assert "| 64 writers | events | save_event, group |" in text
