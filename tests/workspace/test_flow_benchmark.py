"""The benchmark of the flow runtime runs and says what it measured; how fast anything is, no test asks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = "# Speed\n\n<!-- measured by benchmarks.flow -->\nold\n<!-- end of what was measured -->\n\nThe end.\n"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the short form of the benchmark once and return the page it wrote its tables into."""
    page = tmp_path_factory.mktemp("benchmark") / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    options = ["--quick", "--json", str(page.with_name("flow.json")), "--page", str(page)]
    subprocess.run([sys.executable, "-m", "benchmarks.flow", *options], cwd=ROOT, check=True, timeout=100)
    return page


@pytest.fixture(scope="module")
def report(page: Path) -> dict[str, Any]:
    """Return what the short form measured."""
    measured: dict[str, Any] = json.loads(page.with_name("flow.json").read_text(encoding="utf-8"))
    return measured


def test_every_part_is_measured_in_each_round(report: dict[str, Any]) -> None:
    assert {case["part"] for case in report["cases"]} == set("abcdp")
    for case in report["cases"]:
        assert len(case["us_per_message_by_round"]) == report["rounds"]
        assert min(case["us_per_message_by_round"]) > 0


def test_every_case_of_the_flow_has_a_floor_of_the_same_run(report: dict[str, Any]) -> None:
    floors = {f"{case['contender']}, {case['payloads']}" for case in report["cases"] if not case["ratios"]}
    for case in report["cases"]:
        if case["contender"].startswith("flow"):
            assert case["ratios"]
            assert {ratio["floor"] for ratio in case["ratios"]} <= floors


def test_a_case_with_a_bound_says_whether_it_was_kept(report: dict[str, Any]) -> None:
    bounded = [case for case in report["cases"] if case["at_most"] is not None]
    assert len(bounded) == 8
    for case in bounded:
        assert case["met"] is (case["ratios"][-1]["ratio"] <= case["at_most"])


def test_memory_is_measured_for_flows_and_their_floor(report: dict[str, Any]) -> None:
    assert [row["contender"] for row in report["memory"]] == ["queues", "flow", "flow, one middleware"]
    for row in report["memory"]:
        assert row["peak_mb"] > 0


def test_the_import_is_timed_next_to_that_of_its_dependencies(report: dict[str, Any]) -> None:
    assert min(report["weight"]["import_s"].values()) > 0
    assert sorted(name.partition(">")[0] for name in report["weight"]["requires"]) == ["anyio", "pydantic"]


def test_the_tables_replace_what_stood_between_the_markers(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "old" not in text.split("\n")
    assert text.startswith("# Speed")
    assert text.endswith("The end.\n")
    assert "| 3 nodes, 64 in flight | bare | flow |" in text
