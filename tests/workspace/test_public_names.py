"""What users may import is listed, and what is listed is there; ruff keeps the lists sorted."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ROOT

SOURCES = sorted([*ROOT.glob("packages/*/src"), *ROOT.glob("packages/*/python")])
INSTALLED = ["penguiflow"]
"""The packages that the environment of the workspace holds without a compiler."""


def public_modules() -> list[Path]:
    """Return the files of the modules that users may import; a leading underscore hides what is below it too."""
    found = []
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")):
            names = path.relative_to(source).with_suffix("").parts
            if not any(name.startswith("_") and name != "__init__" for name in names):
                found.append(path)
    return found


def listed_names(module: ast.Module) -> list[str] | None:
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List() | ast.Tuple() as value):
                return [ast.literal_eval(element) for element in value.elts]
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.List() | ast.Tuple() as value):
                return [ast.literal_eval(element) for element in value.elts]
    return None


def defined_names(module: ast.Module) -> Iterator[str]:
    """Return the names that a module defines; a type variable is no name that anyone imports."""
    for node in module.body:
        match node:
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar" | "ParamSpec" | "TypeVarTuple"))):
                continue
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def missing(source: str) -> list[str]:
    """Return the public names that a module defines and does not list."""
    module = ast.parse(source)
    listed = listed_names(module) or []
    return sorted({name for name in defined_names(module) if not name.startswith("_")} - set(listed))


@pytest.mark.parametrize("path", public_modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_public_module_lists_its_public_names(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    listed = listed_names(ast.parse(source))

    assert listed is not None, f"{path} has no __all__"
    assert not missing(source), f"{path}: add to __all__, or begin with an underscore"


def test_a_public_name_that_is_not_listed_is_found() -> None:
    source = '__all__ = ["a"]\na = 1\n_b = 2\nT = TypeVar("T")\nclass C: ...\nasync def d(): ...\ne: int = 3\n'

    assert missing(source) == ["C", "d", "e"]


def exports() -> list[tuple[str, str]]:
    return [
        (package, name) for package in INSTALLED for name in getattr(importlib.import_module(package), "__all__", ())
    ]


@pytest.mark.parametrize(("package", "name"), exports())
def test_an_export_is_there_and_names_a_public_module_as_its_own(package: str, name: str) -> None:
    exported = getattr(importlib.import_module(package), name)

    module = getattr(exported, "__module__", package) if callable(exported) else package

    assert not any(part.startswith("_") for part in module.split(".")), f"{name} says that it lives in {module}"
