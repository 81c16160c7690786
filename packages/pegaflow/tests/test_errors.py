"""Every kind of error of the engine has one class, and every public name is listed."""

import pickle
import re
from importlib.util import find_spec
from inspect import ismodule
from pathlib import Path

import pytest

import pegaflow
from pegaflow import _errors

CODES = [
    "INVALID_ARGUMENT INVALID_KEY TOO_LARGE MEMORY_FULL DISK_FULL READ_ONLY IO CORRUPT LOCKED UNSUPPORTED_FORMAT",
    "CLOSED SNAPSHOT_NEEDED LEASE_LOST QUOTA_EXCEEDED PROTOCOL DISCONNECTED SETTINGS_DIFFER TIMED_OUT",
]


@pytest.mark.parametrize("code", " ".join(CODES).split())
def test_each_kind_of_error_has_a_class_that_is_exported(code: str) -> None:
    error = _errors._from_native(code, "what happened (size=1)", {"size": 1})
    assert error.code == code
    assert getattr(pegaflow, type(error).__name__) is type(error)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.context) == (str(error), {"size": 1})


def test_the_kinds_are_those_of_the_engine() -> None:
    source = Path(__file__).parents[3] / "crates/pega-core/src/error.rs"
    if not source.exists():
        pytest.skip("the source of the engine is not beside the tests")
    declared = re.findall(r'Self::\w+ => "(\w+)"', source.read_text())
    assert sorted(declared) == sorted(_errors._BY_CODE)


def test_public_names_are_listed_and_there() -> None:
    assert len(set(pegaflow.__all__)) == len(pegaflow.__all__)
    public = {name for name, item in vars(pegaflow).items() if not name.startswith("_") and not ismodule(item)}
    assert public - {"TYPE_CHECKING"} == set(pegaflow.__all__) - {"__version__"}


def test_tracebacks_show_the_names_that_users_import() -> None:
    for name in ("PegaEngine", "BlockCache", "Lease", "Job", "Change", "Transaction", "InvalidKeyError"):
        assert getattr(pegaflow, name).__module__ == "pegaflow"


def test_the_connector_names_what_to_install() -> None:
    if find_spec("pegaflow_vllm") is None:
        with pytest.raises(ImportError, match='pip install "pegaflow-vllm"'):
            _ = pegaflow.PegaKVConnector
    else:
        assert pegaflow.PegaKVConnector.__name__ == "PegaKVConnector"
    with pytest.raises(AttributeError, match="nothing"):
        _ = pegaflow.nothing  # type: ignore[attr-defined]
