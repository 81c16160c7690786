"""The checks find the Pythons that start, whatever stands on PATH."""

import os
import re
from pathlib import Path

import pytest

from .conftest import Run

VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def report(python: Run, root: Path) -> str:
    """Return what the session says about the Pythons of this machine."""
    done = python("-m", "nox", "--session", "pythons", cwd=root)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_every_supported_python_is_run_in_full_or_in_part_or_named_as_missing(copy: Path, python: Run) -> None:
    said = report(python, copy)

    assert set(re.findall(r"\b3\.\d+", said)) == set(VERSIONS)


def test_a_shim_that_refuses_to_start_is_passed_over(
    copy: Path, python: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = report(python, copy)
    shims = tmp_path_factory.mktemp("shims")
    for version in VERSIONS:
        shim = shims / f"python{version}"
        shim.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
        shim.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(shims), os.environ["PATH"]]))

    assert report(python, copy) == before


def test_a_python_of_another_version_than_its_name_is_passed_over(
    copy: Path, python: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = report(python, copy)
    liars = tmp_path_factory.mktemp("liars")
    for version in VERSIONS:
        liar = liars / f"python{version}"
        liar.write_text("#!/bin/sh\necho 3.10 True\n", encoding="utf-8")
        liar.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(liars), os.environ["PATH"]]))

    assert report(python, copy) == before
