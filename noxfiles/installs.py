"""The distributions as users get them: built into wheels, then installed alone and together."""

from __future__ import annotations

from pathlib import Path

import nox

from noxfiles import _environments, _interpreters, _packages
from noxfiles._environments import CONSTRAINTS, DIST, LOCKED

COMBINATIONS = {
    "a2a": ("penguiflow[a2a,cli,state]",),
    "core": ("penguiflow-core",),
    "distributed": ("penguiflow[redis,postgres,cli]",),
    "penguiflow": ("penguiflow",),
}
"""What is installed together, by name; the tests are `tests/integration` and `tests/integration/<name>` only."""


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every pure Python distribution into dist/, with the constraints that pin them."""
    _environments.sync(session, "release", only=True)
    DIST.mkdir(exist_ok=True)
    for package in (*_packages.pure(), *_packages.over_native()):
        stem = package.name.replace("-", "_")
        for stale in DIST.glob(f"{stem}-[0-9]*"):
            stale.unlink()
        session.run("uv", "build", "--quiet", "--no-sources", "--out-dir", str(DIST), str(package.directory))
    pins = [f"{package.name}=={package.version}\n" for package in _packages.everything()]
    CONSTRAINTS.write_text("".join(pins), encoding="utf-8")
    export = ("--frozen", "--all-groups", "--no-emit-workspace", "--no-hashes", "--no-annotate", "--no-header")
    session.run("uv", "export", "--quiet", *export, "--output-file", str(LOCKED), silent=True)
    built = sorted(str(path) for path in DIST.iterdir() if path.name.endswith((".whl", ".tar.gz")))
    session.run("twine", "check", "--strict", *built)


@nox.session(python=_interpreters.full(), requires=["wheels"])
@nox.parametrize("package", _packages.requirements(), ids=_packages.requirements())
def isolated(session: nox.Session, package: str) -> None:
    """Import and test one package with nothing installed but its wheel and what that declares."""
    distribution = _packages.named(package)
    session.run_install("uv", "pip", "sync", "--quiet", "--allow-empty-requirements", "/dev/null")
    _environments.install(session, package)
    session.run("python", "-I", "tools/import_all.py", *distribution.modules)
    session.run_install("uv", "pip", "check", "--quiet")
    for group in ("test", "contract"):
        _environments.install_group(session, group)
    session.run("pytest", *_tests_of(package), *session.posargs)


@nox.session(python=_interpreters.full(), requires=["wheels"])
@nox.parametrize("combination", list(COMBINATIONS), ids=list(COMBINATIONS))
def combined(session: nox.Session, combination: str) -> None:
    """Run the integration tests against packages that are installed together."""
    session.run_install("uv", "pip", "sync", "--quiet", "--allow-empty-requirements", "/dev/null")
    _environments.install(session, *COMBINATIONS[combination])
    _environments.install_group(session, "test")
    others = [f"--ignore=tests/integration/{other}" for other in COMBINATIONS if other != combination]
    session.run("pytest", "tests/integration", *others, *session.posargs)


@nox.session(python=_interpreters.between(), requires=["wheels"])
def smoke(session: nox.Session) -> None:
    """Import every module and run the smoke tests on the Pythons between the oldest and the newest."""
    names = [package.name for package in _packages.pure()]
    _environments.install(session, *names)
    session.run("python", "-I", "tools/import_all.py", *(m for package in _packages.pure() for m in package.modules))
    _environments.install_group(session, "test")
    combined = [f"--ignore=tests/integration/{combination}" for combination in COMBINATIONS]
    session.run("pytest", "tests/integration", *combined, "-m", "smoke", *session.posargs)


@nox.session(python=_interpreters.full()[0], requires=["wheels"])
@nox.parametrize("package", _packages.requirements(), ids=_packages.requirements())
def lowest(session: nox.Session, package: str) -> None:
    """Test one package with the oldest direct dependencies that it declares."""
    distribution = _packages.named(package)
    pins = Path(session.create_tmp()) / "lowest.txt"
    project = str(distribution.directory / "pyproject.toml")
    extras = [f"--extra={extra}" for extra in distribution.extras if f"[{extra}]" in package]
    resolution = ("--resolution", "lowest-direct", "--no-sources", "--no-header", "--no-annotate")
    options = ("--python", f"{session.bin}/python", "--output-file", str(pins), *extras)
    session.run(
        "uv", "pip", "compile", "--quiet", *resolution, *_environments.from_dist(), *options, project, silent=True
    )
    session.log("oldest: " + ", ".join(pins.read_text(encoding="utf-8").split()))
    _environments.install(session, package, pins=pins)
    session.run("python", "-I", "tools/import_all.py", *distribution.modules)
    for group in ("test", "contract"):
        _environments.install_group(session, group, pins=pins)
    session.run("pytest", *_tests_of(package), *session.posargs)


@nox.session(python=_interpreters.full(), requires=["wheels"])
def meta(session: nox.Session) -> None:
    """Install, remove and reinstall `penguiflow` with every extra; no file may have two owners."""
    everything = f"penguiflow[{','.join(_packages.named('penguiflow').extras)}]".replace("[]", "")
    names = [package.name for package in _packages.pure()]
    modules = [module for package in _packages.pure() for module in package.modules]
    # What proves adapters is for their tests, and no part of what runs them: no extra brings it.
    wanted = (everything, "penguiflow-conformance")
    _environments.install(session, *wanted)
    for round_ in ("installed", "reinstalled"):
        session.log(f"{everything} {round_}")
        session.run("python", "-I", "tools/owned_once.py", *names)
        session.run("python", "-I", "tools/import_all.py", *modules)
        session.run_install("uv", "pip", "check", "--quiet")
        session.run_install("uv", "pip", "uninstall", "--quiet", "penguiflow")
        session.run("python", "-I", "tools/import_all.py", *modules)
        _environments.install(session, *wanted)


def _tests_of(requirement: str) -> list[str]:
    """Return the pytest arguments that select the tests of a package, or of one of its extras.

    The tests of an extra lie in `tests/extra_<name>`; those of the package run without any extra.
    """
    tests = _packages.named(requirement).tests
    _, bracket, extra = requirement.rstrip("]").partition("[")
    if bracket:
        return [str(tests / f"extra_{extra}")]
    return [str(tests), f"--ignore-glob={tests}/extra_*"]
