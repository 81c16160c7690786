"""The distributions of the workspace, as their own metadata describe them."""

from __future__ import annotations

import dataclasses
import functools
import re
import tomllib
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Package:
    """One distribution under `packages/`."""

    directory: Path
    name: str
    version: str
    extras: tuple[str, ...]
    is_native: bool
    """Whether building it needs cargo."""

    requires: tuple[str, ...]
    """The names of the distributions that it requires."""

    @property
    def source(self) -> Path:
        """The directory that holds its top-level module."""
        return self.directory / ("python" if self.is_native else "src")

    @property
    def modules(self) -> list[str]:
        """Its top-level modules; none for a distribution that only has extras."""
        return sorted(path.parent.name for path in self.source.glob("*/__init__.py"))

    @property
    def tests(self) -> Path:
        """The directory that holds its tests."""
        return self.directory / "tests"


@functools.cache
def everything() -> tuple[Package, ...]:
    """Return every distribution, in the order of their names."""
    return tuple(_read(path) for path in sorted(Path("packages").glob("*/pyproject.toml")))


def pure() -> tuple[Package, ...]:
    """Return the distributions that any machine with Python can build, install and test."""
    return tuple(package for package in everything() if not package.is_native and package not in over_native())


def over_native() -> tuple[Package, ...]:
    """Return the distributions in pure Python that need a native one wherever they are installed."""
    names = {package.name for package in native()}
    return tuple(package for package in everything() if names & set(package.requires))


def native() -> tuple[Package, ...]:
    """Return the distributions that need cargo; their pages and examples run in sessions that have built them."""
    return tuple(package for package in everything() if package.is_native)


def named(name: str) -> Package:
    """Return the distribution of that name, with or without an extra in brackets."""
    return next(package for package in everything() if package.name == name.partition("[")[0])


def requirements() -> list[str]:
    """Return what can be installed alone: each pure distribution, and each of its extras.

    The extras of the distribution without modules only forward, so they are installed together instead.
    """
    found = []
    for package in pure():
        found.append(package.name)
        if package.modules:
            found.extend(f"{package.name}[{extra}]" for extra in package.extras)
    return found


def _read(path: Path) -> Package:
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    project = data["project"]
    return Package(
        directory=path.parent,
        name=project["name"],
        version=project["version"],
        extras=tuple(project.get("optional-dependencies", {})),
        is_native=data["build-system"]["build-backend"] == "maturin",
        requires=tuple(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in project.get("dependencies", ())),
    )
