"""The import contracts fail when a package reaches where it must not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def lint_imports(copy: Path) -> subprocess.CompletedProcess[str]:
    roots = ("penguiflow-core/src", "pegaflow/python", "pegaflow-vllm/src")
    sources = os.pathsep.join(str(copy / "packages" / root) for root in roots)
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": sources}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("penguiflow-core/src/penguiflow", "import penguiflow_state", "The runtime imports no other distribution"),
        ("penguiflow-core/src/penguiflow", "import pegaflow", "The runtime imports no other distribution"),
        ("pegaflow/python/pegaflow", "import penguiflow", "The storage engine knows nothing"),
        ("pegaflow/python/pegaflow", "import vllm", "The storage engine knows nothing"),
    ],
)
def test_an_import_against_the_contract_is_found(copy: Path, module: str, statement: str, contract: str) -> None:
    (copy / "packages" / module / "_planted.py").write_text(f"{statement}\n", encoding="utf-8")

    done = lint_imports(copy)

    assert done.returncode == 1
    assert f"{contract}" in done.stdout
    assert "_planted -> " in done.stdout


def test_the_packages_as_they_are_keep_every_contract(copy: Path) -> None:
    done = lint_imports(copy)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
