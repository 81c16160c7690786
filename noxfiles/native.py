"""The storage engine: its crates, and the wheel that is built of them. All of it needs cargo."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

from noxfiles import _environments, _interpreters, _packages
from noxfiles._environments import CONSTRAINTS, DIST

NATIVE = _packages.named("pegaflow")
TEST_TOOLS = ("numpy>=2",)
"""Beside the test group: arrays lend their memory by both protocols, and have every element type but bfloat16."""

COVERED_PERCENT = 85
"""Of the Python lines."""

EXAMPLES = ("examples/pegaflow_basic", "examples/pegaflow_sidecar")


@nox.session(venv_backend="none")
def rust(session: nox.Session) -> None:
    """Check and test the crates: format, lints, documentation, unit, property and model tests, the cargo example."""
    _need_cargo(session)
    session.run("cargo", "fmt", "--all", "--check", external=True)
    session.run("cargo", "clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings", external=True)
    documentation = ("cargo", "doc", "--package", "pega-core", "--no-deps", "--quiet")
    session.run(*documentation, env={"RUSTDOCFLAGS": "-D warnings"}, external=True)
    # The fault suites have a session of their own; those of the sidecar start real processes, like any test.
    suites = [path.stem for path in sorted(Path("crates/pega-core/tests").glob("*.rs")) if "faults" not in path.stem]
    chosen = [option for suite in suites for option in ("--test", suite)]
    session.run("cargo", "test", "--package", "pega-core", "--quiet", "--lib", *chosen, *session.posargs, external=True)
    session.run("cargo", "test", "--package", "pega-core", "--quiet", "--doc", external=True)
    models = ("cargo", "test", "--package", "pega-core", "--quiet", "--lib", "models")
    session.run(*models, env={"RUSTFLAGS": "--cfg loom", "CARGO_TARGET_DIR": "target/loom"}, external=True)
    session.run("cargo", "run", "--package", "pega-core", "--quiet", "--example", "basic", external=True, silent=True)


@nox.session(requires=["wheels"])
def native_wheel(session: nox.Session) -> None:
    """Build the one wheel of pegaflow, for every Python from 3.11 on, into dist/."""
    _need_cargo(session)
    for stale in DIST.glob(f"{NATIVE.name}-[0-9]*"):
        stale.unlink()
    session.run("uv", "build", "--quiet", "--wheel", "--out-dir", str(DIST), str(NATIVE.directory), external=True)
    session.log(", ".join(path.name for path in DIST.glob(f"{NATIVE.name}-[0-9]*")))


@nox.session(python=list(_interpreters.find()), requires=["native_wheel"])
def native(session: nox.Session) -> None:
    """Test the wheel of pegaflow, the examples that use it, and the code in its pages."""
    need_wheel(session)
    _environments.install(session, NATIVE.name)
    session.install("--quiet", *_environments.from_dist(), "--group", "test", *TEST_TOOLS)
    examples = [path for path in EXAMPLES if Path(path).is_dir()]
    coverage = []
    if session.python == _interpreters.full()[0]:
        session.install("--quiet", "--group", "coverage")
        config = NATIVE.directory / "pyproject.toml"
        least = f"--cov-fail-under={COVERED_PERCENT}"
        coverage = ["--cov=pegaflow", f"--cov-config={config}", "--cov-report=", least]
    session.run("pytest", *coverage, str(NATIVE.tests), *examples, *session.posargs)
    session.install("--quiet", *_environments.from_dist(), "pyyaml")
    roots = ("docs/pegaflow", str(NATIVE.directory), *examples)
    pages = sorted(str(page) for root in roots for page in Path(root).rglob("*.md") if not page.name.startswith("vllm"))
    session.run("python", "tools/docs_code.py", *pages)


@nox.session(name="isolated(pegaflow)", python=_interpreters.full(), requires=["native_wheel"])
def isolated_native(session: nox.Session) -> None:
    """Import every module of pegaflow with nothing installed but its wheel, then test it."""
    need_wheel(session)
    session.run_install("uv", "pip", "sync", "--quiet", "--allow-empty-requirements", "/dev/null")
    _environments.install(session, NATIVE.name)
    session.run("python", "-I", "tools/import_all.py", *NATIVE.modules)
    session.run_install("uv", "pip", "check", "--quiet")
    session.install("--quiet", "--constraint", str(CONSTRAINTS), "--group", "test")
    session.run("pytest", str(NATIVE.tests), *session.posargs)


@nox.session(python=_interpreters.full()[0], requires=["native_wheel"])
def stubs(session: nox.Session) -> None:
    """Compare the hand-written stubs with the module that was built, and check the types of the package."""
    need_wheel(session)
    _environments.install(session, NATIVE.name)
    session.install("--quiet", *_environments.from_dist(), "--group", "types", "--group", "test", *TEST_TOOLS)
    session.run("stubtest", "pegaflow._native")
    # The settings of the workspace name a plugin for packages that this environment does not hold.
    session.run("mypy", "--config-file=", "--strict", str(NATIVE.source), str(NATIVE.tests))


def _need_cargo(session: nox.Session) -> None:
    if shutil.which("cargo") is None:
        session.skip("cargo is not installed; pegaflow is built with it: see https://rustup.rs")


def need_wheel(session: nox.Session) -> None:
    if not list(DIST.glob(f"{NATIVE.name}-[0-9]*.whl")):
        session.skip("there is no wheel of pegaflow in dist/: cargo is not installed; see https://rustup.rs")
