"""Benchmarks: never part of the checks, since a speed is not a test."""

from __future__ import annotations

import nox

from noxfiles import _environments


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure the flow runtime against its floors, and write JSON."""
    _environments.sync(session, "test")
    session.run("python", "-m", "benchmarks.flow", *session.posargs)


@nox.session(default=False)
def bench_state(session: nox.Session) -> None:
    """Measure the state stores against plain loops over the same bytes, and write JSON. It starts its own Postgres."""
    _environments.sync(session, "test")
    session.run("python", "-m", "benchmarks.state", *session.posargs)


@nox.session(default=False)
def bench_bus(session: nox.Session) -> None:
    """Measure the bus on Redis against hand-batched streams and its peers, and write JSON."""
    _environments.sync(session, "test")
    session.install("--quiet", "taskiq-redis", "faststream[redis]")
    session.run("python", "-m", "benchmarks.bus", *session.posargs)
