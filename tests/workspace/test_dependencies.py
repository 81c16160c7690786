"""Each package declares what it imports, also where another dependency happens to bring it."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from .conftest import ROOT

HOSTS = {"pegaflow-vllm": {"huggingface-hub", "prometheus-client", "safetensors", "torch", "vllm"}}
"""What a plugin finds where it is loaded, and must not install over."""

PROJECTS = [path.parent for path in sorted(ROOT.glob("packages/*/pyproject.toml"))]


def imported(source: str) -> set[str]:
    """Return the top-level modules that a file imports when it runs; type checkers bring what only they read."""
    module = ast.parse(source)
    unread = {id(node) for guard in ast.walk(module) if is_for_checkers(guard) for node in ast.walk(guard)}
    found: set[str] = set()
    for node in ast.walk(module):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names


def is_for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def declared(directory: Path) -> set[str]:
    """Return the distributions that a package requires, those of its extras too."""
    project = tomllib.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {}).values()
    lines = [project["name"], *project["dependencies"], *(line for extra in extras for line in extra)]
    return {normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in lines}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("directory", PROJECTS, ids=lambda path: path.name)
def test_every_import_is_declared(directory: Path) -> None:
    # What is installed from its source names no modules in its metadata.
    siblings = {path.parent.name: [project.name] for project in PROJECTS for path in project.glob("*/*/__init__.py")}
    providers = {**packages_distributions(), **siblings}
    own = {path.parent.name for path in directory.glob("*/*/__init__.py")}

    for path in [*directory.glob("src/**/*.py"), *directory.glob("python/**/*.py")]:
        for module in imported(path.read_text(encoding="utf-8")) - own:
            names = {normal(name) for name in providers.get(module, [module])}
            assert names & (declared(directory) | HOSTS.get(directory.name, set())), (
                f"{path} imports {module}, which {directory.name} does not declare"
            )


def test_only_what_is_imported_when_it_runs_counts() -> None:
    source = "import os, a.b\nif TYPE_CHECKING:\n    import c\ndef f():\n    from d.e import g\n    from . import h\n"

    assert imported(source) == {"a", "d"}
