"""A version of vLLM that changes what it demands of connectors is noticed before its users notice."""

from __future__ import annotations

import json
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from harness import contract

CONTRACTS = Path(__file__).parent / "contracts"


def recorded(version: str) -> contract.Contract:
    table: contract.Contract = json.loads((CONTRACTS / f"vllm-{version}.json").read_text(encoding="utf-8"))
    return table


def installed() -> tuple[str, str]:
    """Give the version of the vLLM that is installed, and the source of its base classes."""
    found = distribution(packages_distributions()["vllm"][0])
    return found.version, Path(str(found.locate_file(contract.BASE))).read_text(encoding="utf-8")


def test_the_installed_version_demands_what_was_recorded() -> None:
    version, source = installed()

    assert contract.differences(recorded(version), contract.read(source)) == {}


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("    def shutdown(self):", "    def shut(self):", "KVConnectorBase_V1.shut"),
        ("    def shutdown(self):", "    def shutdown(self, hard: bool):", "KVConnectorBase_V1.shutdown"),
        (
            "    def shutdown(self):",
            "    def more(self): ...\n    def shutdown(self):",
            "KVConnectorBase_V1.more",
        ),
        ("    @abstractmethod\n    def wait_for_save", "    def wait_for_save", "KVConnectorBase_V1.wait_for_save"),
    ],
)
def test_a_changed_base_class_is_noticed(before: str, after: str, name: str) -> None:
    version, source = installed()
    assert before in source

    assert name in contract.differences(recorded(version), contract.read(source.replace(before, after)))


def test_the_next_version_adds_three_methods_and_changes_none() -> None:
    added = contract.differences(recorded("0.32.0"), recorded("0.33.0"))

    assert sorted(added) == [
        "KVConnectorBase_V1.restore_kv_caches",
        "KVConnectorBase_V1.supports_sleep_mode",
        "KVConnectorBase_V1.unregister_kv_caches",
    ]
    assert all(before is None for before, _ in added.values())
