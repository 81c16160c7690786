"""Check what a release needs: `versions.py`, run from the root of the repository.

The distributions of a train carry one version, siblings bound each other to its minor version, and every distribution
that was not released as it stands has a change-log fragment.
"""

import dataclasses
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

TRAINS = ("penguiflow", "pegaflow")
FORWARDER = "penguiflow"
"""The distribution that only has extras; it pins its siblings, so that one number names the whole set."""


@dataclasses.dataclass(frozen=True)
class Distribution:
    """What the metadata of one distribution says."""

    directory: Path
    name: str
    version: str
    requires_python: str
    requirements: tuple[Requirement, ...]

    @property
    def train(self) -> str:
        """The group of distributions that share its version."""
        return next(train for train in TRAINS if self.name == train or self.name.startswith(f"{train}-"))


def read(root: Path) -> list[Distribution]:
    """Return every distribution of the workspace, in the order of their names."""
    found = []
    for path in sorted(root.glob("packages/*/pyproject.toml")):
        project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        extras = project.get("optional-dependencies", {}).values()
        lines = [*project.get("dependencies", []), *(line for extra in extras for line in extra)]
        requirements = tuple(Requirement(line) for line in lines)
        found.append(
            Distribution(path.parent, project["name"], project["version"], project["requires-python"], requirements)
        )
    return found


def lockstep(distributions: list[Distribution]) -> Iterator[str]:
    """Return a line for each train whose members differ in version or in the Pythons they support."""
    for train in TRAINS:
        members = [distribution for distribution in distributions if distribution.train == train]
        if len({(member.version, member.requires_python) for member in members}) > 1:
            versions = ", ".join(f"{member.name} {member.version} ({member.requires_python})" for member in members)
            yield f"the {train} train is not in lockstep: {versions}"


def cargo(root: Path, distributions: list[Distribution]) -> Iterator[str]:
    """Return a line for each distribution of the pegaflow train that differs in version from the crates."""
    if (manifest := root / "Cargo.toml").exists():
        crates = tomllib.loads(manifest.read_text(encoding="utf-8"))["workspace"]["package"]["version"]
        for distribution in distributions:
            if distribution.train == "pegaflow" and distribution.version != crates:
                yield f"{distribution.name} is {distribution.version}, the crates are {crates}"


def bounds(distributions: list[Distribution]) -> Iterator[str]:
    """Return a line for each requirement on a sibling that is not bound as it must be."""
    versions = {distribution.name: distribution.version for distribution in distributions}
    for distribution in distributions:
        for requirement in distribution.requirements:
            if requirement.name in versions:
                expected = _expected_bound(distribution.name, versions[requirement.name])
                if requirement.specifier != expected:
                    yield f"{distribution.name} requires {requirement}, expected {requirement.name}{expected}"


def fragments(root: Path, distributions: list[Distribution]) -> Iterator[str]:
    """Return a line for each distribution that needs a change-log fragment, and for each one that is badly named."""
    kinds = [kind["directory"] for kind in _towncrier(root)["type"]]
    pattern = re.compile(rf"(\d+|\+[a-z0-9-]+)\.({'|'.join(kinds)})\.md")
    for distribution in distributions:
        directory = distribution.directory / "changes"
        found = sorted(path for path in directory.glob("*") if not path.name.startswith("."))
        for path in found:
            if not pattern.fullmatch(path.name) or not path.read_text(encoding="utf-8").strip():
                yield f"{path}: name it +what-changed.KIND.md, KIND one of {', '.join(kinds)}, and say what changed"
        if not found and not _is_released(root, distribution):
            yield f"{distribution.name}: add a change-log fragment, {directory}/+what-changed.KIND.md"


def problems(root: Path) -> list[str]:
    """Return everything that stands in the way of a release."""
    distributions = read(root)
    return [
        *lockstep(distributions),
        *cargo(root, distributions),
        *bounds(distributions),
        *fragments(root, distributions),
    ]


def main() -> int:
    """Print what is wrong in the current directory; return the exit status."""
    root = Path()
    found = problems(root)
    for problem in found:
        print(problem)
    if not found:
        print("ready:", ", ".join(f"{distribution.name} {distribution.version}" for distribution in read(root)))
    return 1 if found else 0


def _expected_bound(dependent: str, version: str) -> SpecifierSet:
    if dependent == FORWARDER:
        return SpecifierSet(f"=={version}")
    major, minor = version.split(".")[:2]
    return SpecifierSet(f">={major}.{minor},<{major}.{int(minor) + 1}")


def _towncrier(root: Path) -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["towncrier"]
    return settings


def _is_released(root: Path, distribution: Distribution) -> bool:
    """Return whether the code stands as it was tagged for the version that it names."""
    tag = f"{distribution.train}-{distribution.version}"
    unchanged = ("git", "diff", "--quiet", tag, "--", str(distribution.directory.relative_to(root)))
    return subprocess.run(unchanged, cwd=root, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
