"""What the storage engine survives, with counts, and what its parsers survive. Both need cargo."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

TESTS = Path("crates/pega-core/tests")
FUZZ_CRATE = Path("crates/pega-core/fuzz")
FUZZ_TARGET_DIR = Path("target/fuzz")
FUZZ_SECONDS = {"short": 5, "full": 120}
INSTRUMENTED = (
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
)
"""What tells libFuzzer which code an input reached. `cargo fuzz` asks for a nightly compiler only for sanitizers."""


@nox.session(venv_backend="none")
def faults(session: nox.Session) -> None:
    """Kill, fill, cut and flip the storage engine, and print the counts. PENGUIFLOW_TEST_SCALE=full for all of them."""
    _need(session, "cargo")
    suites = [option for path in sorted(TESTS.glob("*faults*")) for option in ("--test", path.stem)]
    # One at a time: kills should fall on a process that is at work, not on one that waits for a processor.
    options = ["--nocapture", "--test-threads=1", *session.posargs]
    session.run("cargo", "test", "--package", "pega-core", *suites, "--", *options, external=True)


@nox.session(venv_backend="none", default=False)
def fuzz(session: nox.Session) -> None:
    """Fuzz every parser of bytes from disk and socket, a few seconds each; PENGUIFLOW_TEST_SCALE=full for minutes."""
    _need(session, "cargo")
    _need(session, "rustc")
    _need(session, "c++")
    seconds = FUZZ_SECONDS[os.environ.get("PENGUIFLOW_TEST_SCALE", "short")]
    host = _host(session)
    # A target is named so that the flags reach what is fuzzed and not what builds it.
    build = ["build", "--release", "--bins", f"--manifest-path={FUZZ_CRATE / 'Cargo.toml'}", f"--target={host}"]
    flags = {"RUSTFLAGS": " ".join(INSTRUMENTED), "CARGO_TARGET_DIR": str(FUZZ_TARGET_DIR)}
    session.run("cargo", *build, env=flags, external=True)
    for source in sorted((FUZZ_CRATE / "fuzz_targets").glob("*.rs")):
        corpus = FUZZ_CRATE / "corpus" / source.stem
        artifacts = FUZZ_CRATE / "artifacts" / source.stem
        corpus.mkdir(parents=True, exist_ok=True)
        artifacts.mkdir(parents=True, exist_ok=True)
        program = FUZZ_TARGET_DIR / host / "release" / source.stem
        limits = [f"-max_total_time={seconds}", "-max_len=4096", "-verbosity=0", "-print_final_stats=1"]
        session.run(str(program), *limits, f"-artifact_prefix={artifacts}/", str(corpus), external=True)


def _need(session: nox.Session, program: str) -> None:
    if shutil.which(program) is None:
        session.skip(f"{program} is not installed; the storage engine is built with it")


def _host(session: nox.Session) -> str:
    said = session.run("rustc", "-vV", external=True, silent=True)
    lines = str(said).splitlines()
    return next(line.removeprefix("host: ") for line in lines if line.startswith("host: "))
