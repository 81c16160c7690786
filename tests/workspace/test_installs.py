"""The checks of what is installed find a stale wheel, and a file with two owners."""

import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ROOT

Wheel = Callable[[str, str], Path]
Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def wheel(tmp_path: Path) -> Wheel:
    """Make the wheel of a distribution with one file, `shared.py`."""

    def make(name: str, contents: str) -> Path:
        path = tmp_path / "dist" / f"{name}-1.0-py3-none-any.whl"
        path.parent.mkdir(exist_ok=True)
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("shared.py", contents)
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            archive.writestr(f"{info}/RECORD", f"shared.py,,\n{info}/METADATA,,\n{info}/RECORD,,\n")
        return path

    return make


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment with nothing installed."""
    venv.create(tmp_path / "environment", symlinks=True)
    return tmp_path / "environment"


@pytest.fixture
def script(environment: Path) -> Script:
    """Run a script of the workspace in that environment."""

    def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(environment / "bin/python"), "-I", str(ROOT / "tools" / name), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def install(wheel: Path, environment: Path) -> None:
    library = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(environment / library)


def test_a_wheel_that_is_installed_as_built_passes(environment: Path, script: Script, wheel: Wheel) -> None:
    built = wheel("one", "a = 1\n")
    install(built, environment)

    done = script("installed.py", built.parent, "one")

    assert done.returncode == 0, done.stdout
    assert "one 1.0: as built" in done.stdout


def test_a_stale_wheel_of_the_same_version_is_found(environment: Path, script: Script, wheel: Wheel) -> None:
    install(wheel("one", "a = 1\n"), environment)
    rebuilt = wheel("one", "a = 2\n")

    done = script("installed.py", rebuilt.parent, "one")

    assert done.returncode == 1
    assert "one: shared.py is installed with other contents" in done.stdout


def test_a_distribution_that_is_not_installed_is_named(script: Script, wheel: Wheel) -> None:
    done = script("installed.py", wheel("one", "a = 1\n").parent, "one", "two")

    assert done.returncode == 1
    assert "one: not installed" in done.stdout
    assert "two: no wheel in" in done.stdout


def test_a_file_with_two_owners_is_found(environment: Path, script: Script, wheel: Wheel) -> None:
    install(wheel("one", "a = 1\n"), environment)
    install(wheel("two", "a = 1\n"), environment)

    done = script("owned_once.py", "one", "two")

    assert done.returncode == 1
    assert "shared.py: owned by" in done.stdout


def test_files_with_one_owner_each_pass(environment: Path, script: Script, wheel: Wheel) -> None:
    install(wheel("one", "a = 1\n"), environment)

    done = script("owned_once.py", "one")

    assert done.returncode == 0, done.stdout
    assert "0 owned twice" in done.stdout
