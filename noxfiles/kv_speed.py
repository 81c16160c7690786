"""Benchmarks of the storage engine: never part of the checks, since a speed is not a test."""

from __future__ import annotations

import nox

PEERS = ("lmdb>=1.6", "moka-py>=0.2", "redis>=6")
"""What the engine is compared with; a Redis server is used if one is on PATH."""


@nox.session(default=False)
def bench_kv(session: nox.Session) -> None:
    """Measure the storage engine against a plain copy and its peers, and write JSON. Needs cargo."""
    session.install("--quiet", "--reinstall-package", "pegaflow", "./packages/pegaflow", *PEERS)
    session.run("python", "-m", "benchmarks.kv", *session.posargs)
