"""Real engines of vLLM on the CPU, with a small model that the tests make."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.process import Engine
from harness.served import Options
from harness.sidecar import Sidecar
from harness.workload import Answer, Ask

from pegaflow_vllm.testkit import ModelShape, make_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with wide logit gaps."""
    return str(make_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="session")
def windowed_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with two groups of KV cache: every second layer sees 64 tokens only."""
    return str(make_model(tmp_path_factory.mktemp("windowed"), ModelShape(sliding_window=64)))


@pytest.fixture
def start(model: str) -> Iterator[Callable[..., Engine]]:
    """Start engines, which end with the test."""
    engines: list[Engine] = []

    def start_engine(*, wait: bool = True, **options: object) -> Engine:
        engines.append(Engine(Options(**{"model": model, **options}), wait=wait))  # type: ignore[arg-type]
        return engines[-1]

    yield start_engine
    for engine in engines:
        engine.close()


@pytest.fixture(scope="session")
def plain(model: str) -> Iterator[Callable[[Sequence[Ask]], dict[str, Answer]]]:
    """Give what an engine without a connector answers."""
    with Engine(Options(model=model, blocks=1000)) as engine:
        # Whole answers, also to what other engines give up on.
        yield lambda asks: engine.run([dataclasses.replace(ask, abort_after=None) for ask in asks], 8).answers


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    """A sidecar that keeps blocks on disk."""
    with Sidecar(tmp_path) as running:
        yield running
