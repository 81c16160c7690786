"""Check that this environment holds the wheels of a directory, byte for byte: `installed.py DIST NAME...`.

The named distributions must be installed; every other one that has a wheel there must be as built if it is installed.
Stands on the standard library alone, since it runs where nothing but the wheel under test is installed.
"""

import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path


def differences(wheel: Path, installed: metadata.Distribution) -> Iterator[str]:
    """Return what is different between a wheel and the distribution that is installed under its name."""
    version = wheel.name.split("-")[1]
    if installed.version != version:
        yield f"version {installed.version} is installed, {wheel.name} has {version}"
        return
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            path = Path(str(installed.locate_file(member)))
            if member.endswith("/RECORD"):
                continue
            if not path.is_file():
                yield f"{member} is not installed"
            elif path.read_bytes() != archive.read(member):
                yield f"{member} is installed with other contents"


def problems(dist: Path, required: list[str]) -> Iterator[str]:
    """Return a line for everything that is not as built."""
    wheels = {wheel.name.split("-")[0].replace("_", "-"): wheel for wheel in sorted(dist.glob("*.whl"))}
    for name in required:
        if name not in wheels:
            yield f"{name}: no wheel in {dist}; build it by `nox -s wheels`"
    for name, wheel in wheels.items():
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            if name in required:
                yield f"{name}: not installed"
            continue
        found = list(differences(wheel, installed))
        yield from (f"{name}: {difference}" for difference in found)
        if not found:
            print(f"{name} {installed.version}: as built")


def main() -> int:
    """Check what the command line names; return the exit status."""
    dist, *required = sys.argv[1:]
    found = list(problems(Path(dist), required))
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
