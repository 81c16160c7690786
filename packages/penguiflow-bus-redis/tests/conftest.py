"""Buses on a real Redis, each test with queues of its own."""

import itertools
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import pytest
from servers import RedisServer, redis_programs

from penguiflow.bus import Delivery
from penguiflow_bus_redis import RedisMessageBus

MakeBus: TypeAlias = Callable[..., RedisMessageBus]
Take: TypeAlias = Callable[..., Awaitable[Delivery]]

_prefixes = itertools.count()


KINDS = ("packaged", "installed", "cluster")
FULL = os.environ.get("PENGUIFLOW_TEST_SCALE") == "full"


@pytest.fixture(scope="session", params=KINDS)
def any_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """Return each server there is: the 6.2 that PyPI has, what is on the path, and a cluster of one node."""
    yield from _serve(request)


@pytest.fixture(scope="session", params=KINDS if FULL else KINDS[:1])
def oldest_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """Return the server that PyPI has, and each there is at full scale."""
    yield from _serve(request)


def _serve(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    if request.param == "installed" and not (shutil.which("redis-server") or shutil.which("valkey-server")):
        pytest.skip("neither redis-server nor valkey-server is on PATH; the tests run on the one of PyPI alone")
    programs = list(redis_programs().values())
    program = programs[0] if request.param == "packaged" else programs[-1]
    with RedisServer(program=program, cluster=request.param == "cluster") as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """Return what keeps the queues of one test from those of others."""
    return f"test-{next(_prefixes)}"


@pytest.fixture
async def make_bus(redis_server: RedisServer, prefix: str) -> AsyncIterator[MakeBus]:
    """Return a function that makes buses which share their queues, and are closed after the test."""
    made: list[RedisMessageBus] = []

    def make(url: str | None = None, **options: Any) -> RedisMessageBus:
        made.append(RedisMessageBus(url or redis_server.url, prefix=prefix, **options))
        return made[-1]

    yield make
    for bus in made:
        await bus.aclose()


@pytest.fixture
def take() -> Take:
    """Return a function that gets a message, which has to come."""

    async def take_from(bus: RedisMessageBus, queue: str = "q") -> Delivery:
        delivery = await bus.get(queue, timeout_s=10)
        assert delivery is not None, f"nothing came from {queue}"
        return delivery

    return take_from
