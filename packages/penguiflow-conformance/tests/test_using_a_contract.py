"""How a contract behaves in the hands of a user: optional parts, missing fixtures, names that collide."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import pytest

import penguiflow_conformance
from penguiflow_conformance import MessageBusContract, RemoteTransportContract, StateStoreContract

Run = Callable[..., Any]

HISTORY_ONLY = """
    import pytest
    from penguiflow.state import EventBatches, InMemoryStateStore
    from penguiflow_conformance import MessageBusContract, RemoteTransportContract, StateStoreContract

    class HistoryOnly:
        def __init__(self):
            inner = InMemoryStateStore()
            self.save_event, self.load_history = inner.save_event, inner.load_history
            self.save_remote_binding = inner.save_remote_binding
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / f"test_{uuid4().hex}.py"
    path.write_text(dedent(HISTORY_ONLY), encoding="utf-8")
    return path


def add(module: Path, source: str) -> None:
    module.write_text(module.read_text(encoding="utf-8") + dedent(source), encoding="utf-8")


def test_the_first_use_in_the_readme_runs(run: Run, tmp_path: Path) -> None:
    readme = Path(__file__).parents[1] / "README.md"
    _, _, rest = readme.read_text(encoding="utf-8").partition("```python\n")
    path = tmp_path / f"test_{uuid4().hex}.py"
    path.write_text(rest.partition("```")[0], encoding="utf-8")

    outcomes = run(str(path))

    assert (outcomes.failed, outcomes.skipped) == ({}, {})
    assert len(outcomes.passed) > 100


def test_what_an_adapter_lacks_is_skipped_with_the_reason(run: Run, module: Path) -> None:
    add(
        module,
        """
        class TestMine(StateStoreContract):
            @pytest.fixture
            def make_store(self):
                store = HistoryOnly()
                return lambda: store
        """,
    )
    outcomes = run(str(module))

    assert not outcomes.failed
    assert "HistoryOnly is no EventBatches: it lacks save_events" in str(outcomes.skipped)
    assert "test_events_come_back_in_the_order_in_which_they_were_saved" in outcomes.passed


def test_what_is_required_and_lacking_fails(run: Run, module: Path) -> None:
    add(
        module,
        """
        class TestMine(StateStoreContract):
            requires = {EventBatches}

            @pytest.fixture
            async def make_store(self):
                return HistoryOnly
        """,
    )
    outcomes = run(str(module), "-o", "asyncio_mode=auto", "-k", "test_an_empty_batch_is_nothing or test_pages")

    assert "TestMine.requires names EventBatches" in outcomes.failed["test_an_empty_batch_is_nothing"]
    assert "TraceListing" in outcomes.skipped["test_pages_follow_one_another"] or "JournalStore" in str(
        outcomes.skipped
    )


@pytest.mark.parametrize(
    ("contract", "fixture", "test"),
    [
        ("StateStoreContract", "make_store", "test_an_event_comes_back_whole"),
        ("MessageBusContract", "make_bus", "test_an_empty_queue_gives_none"),
        ("RemoteTransportContract", "make_transport", "test_it_has_the_methods_of_a_transport"),
    ],
)
def test_a_class_without_its_fixture_is_told_how_to_write_it(
    run: Run, module: Path, contract: str, fixture: str, test: str
) -> None:
    add(module, f"class TestMine({contract}):\n    pass\n")

    outcomes = run(f"{module}::TestMine::{test}")

    assert f"TestMine has no fixture '{fixture}'" in outcomes.failed[test]
    assert f"def {fixture}(self):" in outcomes.failed[test]


def test_a_failure_names_the_rule_and_what_was_compared(run: Run, module: Path) -> None:
    add(
        module,
        """
        class Unordered(InMemoryStateStore):
            async def load_history(self, trace_id):
                return (await super().load_history(trace_id))[::-1]

        class TestMine(StateStoreContract):
            @pytest.fixture
            def make_store(self):
                return Unordered
        """,
    )
    name = "test_events_come_back_in_the_order_in_which_they_were_saved"
    outcomes = run(f"{module}::TestMine::{name}")

    assert "events come back in the order of the calls, whatever their ts" in outcomes.failed[name]
    assert "At index 0 diff: 49 != 0" in outcomes.failed[name]


@pytest.mark.parametrize("contract", [MessageBusContract, RemoteTransportContract, StateStoreContract])
def test_no_two_rules_have_the_same_name(contract: type) -> None:
    names = Counter(name for base in contract.__mro__ for name in vars(base) if name.startswith("test_"))

    assert [name for name, count in names.items() if count > 1] == []


def test_what_is_exported_says_where_it_is_imported_from() -> None:
    for name in penguiflow_conformance.__all__:
        assert getattr(penguiflow_conformance, name).__module__ == "penguiflow_conformance"
