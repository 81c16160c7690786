"""How long the tests of the workspace run, and which of them this environment can run.

They are short by default, and run in full with `PENGUIFLOW_TEST_SCALE=full`.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator

import hypothesis
import pytest
from servers import PostgresServer, RedisServer

SCALE = os.environ.get("PENGUIFLOW_TEST_SCALE", "short")
EXAMPLES = {"short": 50, "full": 2000}

if SCALE not in EXAMPLES:
    raise pytest.UsageError(f"PENGUIFLOW_TEST_SCALE is {SCALE!r}, expected one of {', '.join(EXAMPLES)}")

for _name, _examples in EXAMPLES.items():
    # The time-out of each test bounds it; a deadline an example makes a busy machine look like a defect.
    hypothesis.settings.register_profile(_name, max_examples=_examples, deadline=None)
hypothesis.settings.load_profile(SCALE)


HAS_ENGINE = importlib.util.find_spec("pegaflow") is not None
HAS_VLLM = HAS_ENGINE and importlib.util.find_spec("vllm") is not None
LEFT_OUT = {
    "pegaflow is not built here: `nox -s native` builds it": ["packages/pegaflow", "examples/pegaflow_*"],
    "vLLM is not installed here: `nox -s vllm` installs it": ["packages/pegaflow-vllm", "examples/vllm_*"],
}
collect_ignore_glob = [
    pattern
    for (_, patterns), is_here in zip(LEFT_OUT.items(), (HAS_ENGINE, HAS_VLLM), strict=True)
    for pattern in patterns
    if not is_here
]


def pytest_report_header() -> list[str]:
    """Say which tests are left out, and why."""
    is_here = (HAS_ENGINE, HAS_VLLM)
    return [f"left out, {reason}" for reason, found in zip(LEFT_OUT, is_here, strict=True) if not found]


@pytest.fixture(scope="session")
def scale() -> Callable[[int, int], int]:
    """Return the function that chooses a count: `scale(short, full)`."""
    return lambda short, full: full if SCALE == "full" else short


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Return a Postgres that runs until the tests are over; whoever stops it starts it again."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Return a Redis that runs until the tests are over; whoever stops it starts it again."""
    with RedisServer() as server:
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test whose length depends on the scale, so that `-m scaled` selects them."""
    for item in items:
        is_property = hypothesis.is_hypothesis_test(getattr(item, "obj", None))
        if is_property or "scale" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.scaled)
