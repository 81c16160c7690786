"""What `penguiflow` exports: where it says it lives, and that it still pickles and resolves."""

import importlib
import pickle
import subprocess
import sys
import typing
from typing import Any

import pytest
from pydantic import TypeAdapter

import penguiflow

PUBLIC = "bus core errors metrics middlewares node patterns policies registry remote sinks state testkit types viz"
CLASSES = [exported for name in penguiflow.__all__ if isinstance(exported := getattr(penguiflow, name), type)]


@pytest.mark.smoke
def test_every_name_is_there_and_sorted() -> None:
    assert len(set(penguiflow.__all__)) == len(penguiflow.__all__)
    assert sorted(penguiflow.__all__, key=_as_ruff_sorts) == penguiflow.__all__


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("module", PUBLIC.split())
def test_a_public_module_is_imported_with_the_package(module: str) -> None:
    assert getattr(penguiflow, module) is importlib.import_module(f"penguiflow.{module}")


@pytest.mark.parametrize("exported", CLASSES, ids=lambda exported: exported.__name__)
def test_a_class_is_found_where_it_says_it_lives(exported: type) -> None:
    assert pickle.loads(pickle.dumps(exported)) is exported
    assert exported.__module__ == "penguiflow" or exported.__annotations__


@pytest.mark.parametrize("model", [penguiflow.Message, penguiflow.NodePolicy, penguiflow.PlanStep, penguiflow.WM])
def test_annotated_fields_still_resolve(model: Any) -> None:
    class Longer(model):  # type: ignore[misc]
        """A class of a user, with a field of its own."""

        extra: int = 0

    assert set(typing.get_type_hints(model)) <= set(typing.get_type_hints(Longer))
    assert TypeAdapter(model).json_schema()


def test_values_and_errors_survive_pickling() -> None:
    message = penguiflow.Message(payload=penguiflow.FinalAnswer(text="x"), meta={"a": 1})
    error = penguiflow.UnknownTarget("x", ["b", "a"], source="n", trace_id="t")

    back = pickle.loads(pickle.dumps(error))

    assert pickle.loads(pickle.dumps(message)) == message
    assert (type(back), back.known, str(back)) == (type(error), ["a", "b"], str(error))


@pytest.mark.smoke
def test_importing_the_package_imports_no_server_client_or_test_tool() -> None:
    program = "import sys, penguiflow; print(sorted({name.split('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    for heavy in ("httpx", "starlette", "fastapi", "sqlite3", "pytest", "numpy", "redis"):
        assert f"'{heavy}'" not in found
