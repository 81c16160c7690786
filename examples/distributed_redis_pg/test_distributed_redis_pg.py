"""The example of workers on Redis and Postgres, run as its user does."""

import subprocess
from collections.abc import Callable

import pytest

# A Postgres is made, and four Python processes start, on a machine that may be busy with other tests.
PATIENCE_S = 100


@pytest.mark.timeout(120)
def test_every_trip_is_quoted_though_a_worker_is_killed(start_example: Callable[..., subprocess.Popen[str]]) -> None:
    process = start_example("distributed_redis_pg", "Lisbon", "Oslo")
    stdout, stderr = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0, stderr
    assert "killed worker south while it quoted a hotel" in stdout
    assert "Lisbon: 425 for flight, hotel, train" in stdout
    assert "Oslo: 405 for flight, hotel, train" in stdout
    assert "steps recorded: 12" in stdout
