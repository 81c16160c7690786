"""The commands that people and machines are told to run are the same ones."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from .conftest import Run


@pytest.fixture
def commands(root: Path) -> list[str]:
    """The shell commands of the README, in order."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    return [block.strip() for block in re.findall(r"^```sh\n(.*?)^```$", readme, flags=re.DOTALL | re.MULTILINE)]


def test_the_readme_gives_two_commands_of_one_line_each(commands: list[str]) -> None:
    assert len(commands) == 2
    assert not any("\n" in command for command in commands)


def test_the_readme_commands_install_into_an_environment_of_their_own(commands: list[str]) -> None:
    for command in commands:
        make, install, *_ = command.split(" && ")
        environment = make.removeprefix("python3 -m venv ")
        assert shlex.split(install)[0] == f"{environment}/bin/pip"


def test_ci_runs_exactly_the_second_command(root: Path, commands: list[str]) -> None:
    lines = (root / ".ci/run").read_text(encoding="utf-8").splitlines()

    assert commands[1] in lines


def test_the_workflow_runs_the_same_and_uploads_the_coverage(root: Path) -> None:
    workflow = yaml.safe_load((root / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]

    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert [step["with"]["files"] for step in steps if "codecov" in step.get("uses", "")] == ["coverage.xml"]


def test_every_session_says_in_a_sentence_what_it_does(python: Run) -> None:
    sessions = json.loads(python("-m", "nox", "--list", "--json").stdout)

    assert sessions
    for session in sessions:
        assert re.fullmatch(r"[A-Z].+\.", session["description"] or ""), session["session"]


def test_heavy_sessions_do_not_run_by_default(root: Path, python: Run) -> None:
    listed = python("-m", "nox", "--list").stdout
    heavy = json.loads(python("-m", "nox", "--list", "--json", "--tags", "heavy").stdout)

    # What a heavy session requires is listed with it.
    for session in (one for one in heavy if "heavy" in one["tags"]):
        assert re.search(rf"^- {re.escape(session['session'])} \[heavy\] ->", listed, flags=re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "pyproject.toml"])
def test_every_package_has_its_papers(root: Path, name: str) -> None:
    packages = [path for path in (root / "packages").iterdir() if path.is_dir()]

    assert packages
    for package in packages:
        assert (package / name).is_file(), f"{package.name} has no {name}"


def test_every_package_with_modules_says_that_it_is_typed(root: Path) -> None:
    modules = [path.parent for path in root.glob("packages/*/*/*/__init__.py") if path.parts[-3] in {"src", "python"}]

    assert modules
    for module in modules:
        assert (module / "py.typed").is_file(), f"{module} has no py.typed"


def test_every_example_has_a_readme_and_a_test(root: Path) -> None:
    for flow in root.glob("examples/*/flow.py"):
        assert (flow.parent / "README.md").is_file(), f"{flow.parent} has no README.md"
        assert list(flow.parent.glob("test_*.py")), f"{flow.parent} has no test"


def test_every_package_is_checked_against_the_contracts(root: Path) -> None:
    settings = (root / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^root_packages = (\[.*?\])", settings, flags=re.DOTALL | re.MULTILINE)
    modules = {
        path.parent.name for path in root.glob("packages/*/*/*/__init__.py") if path.parts[-3] in {"src", "python"}
    }

    assert listed
    assert set(re.findall(r"\w+", listed[1])) == modules
