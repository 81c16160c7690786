"""Which Pythons this machine has, and which of the checks run on each."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nox.virtualenv

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")

_LINKS = Path(".nox") / "interpreters"


@functools.cache
def find() -> dict[str, Path]:
    """Return an interpreter for each supported version that is here, oldest version first.

    Looks at the Python that runs nox, at `PATH`, and at what pyenv and uv have installed. A candidate counts only if it
    starts and gives the version asked for: pyenv puts a shim on `PATH` for every version, and most of them refuse.
    """
    found = {}
    for version in SUPPORTED:
        for candidate in _candidates(version):
            if _version_of(candidate) == version:
                found[version] = candidate
                break
    return found


def full() -> list[str]:
    """Return the versions on which everything runs: the oldest and the newest here."""
    found = list(find())
    if not found:
        raise SystemExit(f"none of Python {', '.join(SUPPORTED)} is on PATH, or installed by pyenv or uv: install one")
    return list(dict.fromkeys([found[0], found[-1]]))


def between() -> list[str]:
    """Return the versions on which imports and smoke tests run: those between the oldest and the newest here."""
    return list(find())[1:-1]


def missing() -> list[str]:
    """Return the supported versions that are not here."""
    return [version for version in SUPPORTED if version not in find()]


def put_on_path() -> None:
    """Make `pythonX.Y` start the interpreter that `find` chose, in this process and those it starts."""
    _LINKS.mkdir(parents=True, exist_ok=True)
    for version, interpreter in find().items():
        link = _LINKS / f"python{version}"
        if not (link.is_symlink() and link.readlink() == interpreter):
            new = link.with_suffix(f".{os.getpid()}")
            new.symlink_to(interpreter)
            new.replace(link)
    os.environ["PATH"] = os.pathsep.join([str(_LINKS.resolve()), os.environ.get("PATH", "")])


def _candidates(version: str) -> Iterator[Path]:
    name = f"python{version}"
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        yield Path(sys.base_prefix) / "bin" / name
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        if shutil.which(name, path=directory):
            yield (Path(directory) / name).resolve()
    for installed in (_output("pyenv", "root", suffix="versions"), _output(nox.virtualenv.UV, "python", "dir")):
        if installed:
            yield from sorted(Path(installed).glob(f"*{version}*/bin/{name}"), key=_patch_release, reverse=True)


def _patch_release(interpreter: Path) -> list[int]:
    digits = "".join(c if c.isdigit() else " " for c in interpreter.parent.parent.name)
    return [int(part) for part in digits.split()]


@functools.cache
def _output(*command: str, suffix: str = "") -> str | None:
    if shutil.which(command[0]) is None:
        return None
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return str(Path(answer.stdout.strip()) / suffix) if answer.returncode == 0 else None


def _version_of(interpreter: Path) -> str | None:
    command = [
        str(interpreter),
        "-I",
        "-c",
        "import sys; print('%d.%d' % sys.version_info[:2], sys.prefix == sys.base_prefix)",
    ]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return None
    version, _, is_base = answer.stdout.strip().partition(" ")
    return version if is_base == "True" else None
