"""The guide names every code, event, field and public function that a user may meet."""

import re
from pathlib import Path

import penguiflow
from penguiflow import FlowErrorCode, Message
from penguiflow.metrics import FLOW_EVENT_TYPES

GUIDE = Path(__file__).parents[2] / "docs" / "guide"


def in_tables(page: str) -> set[str]:
    """Return what stands in code quotes in the first column of the tables of a page."""
    rows = [line for line in (GUIDE / page).read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_every_error_code_is_in_the_table() -> None:
    assert in_tables("errors.md") == set(FlowErrorCode)


def test_every_kind_of_event_is_in_the_table() -> None:
    sources = Path(penguiflow.__file__).parent.rglob("*.py")
    own = {kind for path in sources for kind in re.findall(r'"(core\.[a-z_]+)"', path.read_text(encoding="utf-8"))}
    assert in_tables("observability.md") == {*FLOW_EVENT_TYPES, *own}


def test_every_field_of_a_message_is_in_the_table() -> None:
    assert in_tables("messages.md") == set(Message.model_fields)


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"- (\S+\.md)", (GUIDE / ".nav.yml").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(page.name for page in GUIDE.glob("*.md"))


def test_every_public_function_is_told_of() -> None:
    guide = "".join(page.read_text(encoding="utf-8") for page in GUIDE.glob("*.md"))
    functions = [name for name in penguiflow.__all__ if name[0].islower()]
    assert [name for name in functions if not re.search(rf"\b{name}\b", guide)] == []
