"""How stores are made: by class, by URL, and with what they refuse."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penguiflow import FlowDefinitionError
from penguiflow_state import SqliteStateStore, StateStoreError, StoreUnavailable, open_url


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"path": ":memory:"}, "InMemoryStateStore"),
        ({"durability": "never"}, "durability='never'"),
        ({"sync_every_s": 0}, "sync_every_s=0"),
        ({"busy_timeout_s": -1.0}, "busy_timeout_s=-1.0"),
        ({"blob_bytes": 0}, "blob_bytes=0"),
    ],
)
def test_an_argument_that_is_not_usable_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(FlowDefinitionError, match=named):
        SqliteStateStore(**{"path": "traces.db", **options})


async def test_a_url_names_a_file(tmp_path: Path) -> None:
    async with open_url(f"sqlite:///{tmp_path}/my%20traces.db"):
        assert (tmp_path / "my traces.db").exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite://host/x.db", "mysql://host/db", "traces.db", ""])
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(FlowDefinitionError, match="pass sqlite:///"):
        open_url(url)


def test_without_its_extra_postgres_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import penguiflow_state\n"
        "try: penguiflow_state.open_url('postgresql://localhost/x')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert 'pip install "penguiflow-state[postgres]"' in done.stdout


def test_errors_have_codes_of_their_own_and_can_be_copied() -> None:
    error = StoreUnavailable("traces.db", "no such folder")

    assert error.code == "STORE_UNAVAILABLE"
    assert isinstance(error, StateStoreError)
    copied = error.__reduce__()
    assert str(copied[0](*copied[1])) == str(error) == "[STORE_UNAVAILABLE] traces.db: no such folder"
