"""The benchmark of the bus on Redis runs and says what it measured; how fast anything is, no test asks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = "# Speed\n\n<!-- measured by benchmarks.bus -->\nold\n<!-- end of what was measured -->\n\nThe end.\n"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the short form of the benchmark once and return the page it wrote its table into."""
    page = tmp_path_factory.mktemp("benchmark") / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    options = ["--quick", "--json", str(page.with_name("bus.json")), "--page", str(page)]
    subprocess.run([sys.executable, "-m", "benchmarks.bus", *options], cwd=ROOT, check=True, timeout=100)
    return page


def test_the_bus_is_measured_beside_its_floor_in_each_round(page: Path) -> None:
    report: dict[str, Any] = json.loads(page.with_name("bus.json").read_text(encoding="utf-8"))
    floor, bus = report["cases"][:2]

    assert len(floor["us_per_message_by_round"]) == len(bus["us_per_message_by_round"]) == report["rounds"]
    assert (bus["contender"], bus["at_most"]) == ("RedisMessageBus", 2.5)
    assert bus["met"] is (bus["ratios"][-1]["ratio"] <= 2.5)


def test_the_table_replaces_what_stood_between_the_markers(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "old" not in text.split("\n")
    assert text.endswith("The end.\n")
    assert "| RedisMessageBus |" in text
