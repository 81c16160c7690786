"""The sessions that install wheels see what the source tree hides."""

import json
import re
from pathlib import Path

import pytest
from import_all import lacks_extra

from .conftest import Run


@pytest.fixture
def session(python: Run) -> str:
    """The session that isolates the runtime on the oldest Python of this machine."""
    listed = json.loads(python("-m", "nox", "--list", "--json", "--session", "isolated").stdout)
    names: list[str] = [entry["session"] for entry in listed]
    return next(name for name in names if "penguiflow-core)" in name)


@pytest.mark.timeout(300)
def test_an_undeclared_import_fails_the_session(copy: Path, python: Run, session: str) -> None:
    planted = copy / "packages/penguiflow-core/src/penguiflow/_planted.py"
    planted.write_text("import yaml\n", encoding="utf-8")

    done = python("-m", "nox", "--session", session, cwd=copy)

    assert done.returncode == 1
    assert "No module named 'yaml'" in done.stdout + done.stderr
    assert "penguiflow._planted: can't be imported with what its distribution declares" in done.stdout


@pytest.mark.timeout(300)
def test_a_declared_import_passes_the_session(copy: Path, python: Run, session: str) -> None:
    planted = copy / "packages/penguiflow-core/src/penguiflow/_planted.py"
    planted.write_text("import anyio\n", encoding="utf-8")
    test = copy / "packages/penguiflow-core/tests/test_planted.py"
    test.parent.mkdir(exist_ok=True)
    test.write_text("def test_it_is_there():\n    import penguiflow._planted\n", encoding="utf-8")

    done = python("-m", "nox", "--session", session, "--", "-k", "test_it_is_there", cwd=copy)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_package_from_elsewhere_is_refused(copy: Path, python: Run) -> None:
    source = copy / "packages/penguiflow-core/src"

    done = python("-c", f"import sys; sys.path.insert(0, {str(source)!r}); sys.argv[1:] = ['penguiflow']; "
                  "import runpy; runpy.run_path('tools/import_all.py', run_name='__main__')")  # fmt: skip

    assert done.returncode == 1
    assert "penguiflow: not installed in" in done.stdout


@pytest.mark.timeout(300)
def test_a_bound_that_was_never_tested_fails_the_lowest_session(copy: Path, python: Run) -> None:
    project = copy / "packages/penguiflow-core/pyproject.toml"
    declared = project.read_text(encoding="utf-8")
    project.write_text(re.sub(r'"pydantic>=[\d.]+"', '"pydantic>=1.10"', declared), encoding="utf-8")

    done = python("-m", "nox", "--session", "lowest(penguiflow-core)", cwd=copy)

    assert done.returncode == 1
    assert "pydantic==1.10" in done.stderr
    assert re.search(r"cannot import name '\w+' from 'pydantic'", done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("error", "excused"),
    [
        (ImportError('needs Django: pip install "hypothesis[django]"'), True),
        (ImportError('needs psycopg: pip install "penguiflow-state[postgres]"'), False),
        (ImportError("No module named 'django'"), False),
        (ValueError('pip install "hypothesis[django]"'), False),
    ],
)
def test_a_module_is_left_out_only_where_its_extra_is_not_installed(error: Exception, excused: bool) -> None:
    assert lacks_extra(error) is excused
