"""How a session fills its environment: from the lock, or from the wheels just built as a user would."""

from __future__ import annotations

from pathlib import Path

import nox

from noxfiles import _packages

DIST = Path("dist")
CONSTRAINTS = DIST / "constraints.txt"
LOCKED = DIST / "locked.txt"


def sync(session: nox.Session, *groups: str, only: bool = False) -> None:
    """Install dependency groups as locked and, unless `only`, the packages of the workspace from their source."""
    option = "--only-group" if only else "--group"
    wanted = [part for group in groups for part in (option, group)]
    session.run_install("uv", "sync", "--quiet", "--frozen", "--no-default-groups", *wanted)


def install(session: nox.Session, *requirements: str, pins: Path = LOCKED) -> None:
    """Install requirements as a user would, our own only from the wheels in `dist/`, others as pinned in `pins`.

    The names of our distributions exist on the public index too, and an unchanged version in an environment that is
    reused would hide a new wheel: so ours are pinned, reinstalled, and compared with the wheels afterwards.
    """
    ours = [package.name for package in _packages.everything()]
    anew = [option for name in ours for option in ("--reinstall-package", name)]
    session.install("--quiet", *anew, *from_dist(), "--constraint", str(pins), *requirements)
    session.run("python", "-I", "tools/installed.py", str(DIST), *{_packages.named(name).name for name in requirements})


def install_group(session: nox.Session, group: str, *, pins: Path = LOCKED) -> None:
    """Add a dependency group of the workspace to an environment that holds installed wheels."""
    session.install("--quiet", *from_dist(), "--constraint", str(pins), "--group", group)


def from_dist() -> list[str]:
    """Return the options that make `uv pip` take our distributions from `dist/` only."""
    options = ["--find-links", str(DIST), "--constraint", str(CONSTRAINTS)]
    for package in _packages.everything():
        options += ["--refresh-package", package.name]
    return options
