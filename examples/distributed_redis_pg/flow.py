"""Two workers on a Redis and a Postgres that this starts; one is killed on the way, and every trip is still quoted."""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools")]

from servers import PostgresServer, RedisServer  # noqa: E402  It lies in tools/, and trip.py beside this file.
from trip import Offer, Trip, flow  # noqa: E402

from penguiflow import Trace  # noqa: E402
from penguiflow_bus_redis import RedisMessageBus  # noqa: E402
from penguiflow_state.postgres import PostgresStateStore  # noqa: E402

WORKERS = {"north": "plan,flight,quotes", "south": "hotel,train,offer"}
LEASE_S = 2.0
PATIENCE_S = 60.0
LOOK_S = 0.02


class Workers:
    """Two `pf worker` processes, each with its own nodes of the flow."""

    def __init__(self, redis: RedisServer, postgres: PostgresServer, diary: Path) -> None:
        self._bus = f"{redis.url}?lease_s={LEASE_S}"
        self._state = postgres.dsn
        self._diary = diary
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start one."""
        pf = str(Path(sys.executable).with_name("pf"))
        place = ["--bus", self._bus, "--state", self._state, "--lease", str(LEASE_S)]
        command = [pf, "worker", "trip:flow", "--nodes", WORKERS[name], *place]
        environment = {**os.environ, "PYTHONPATH": str(HERE), "TRIP_DIARY": str(self._diary)}
        self._processes[name] = subprocess.Popen(command, cwd=HERE, env=environment)

    async def kill_when_at_work(self, name: str, node: str) -> None:
        """Kill one while it runs a node, as a machine that loses power would."""
        process = self._processes[name]
        for _ in range(round(PATIENCE_S / LOOK_S)):
            if any(line.split()[:2] == [node, str(process.pid)] for line in self._lines()):
                break
            await asyncio.sleep(LOOK_S)
        process.kill()
        await asyncio.to_thread(process.wait)

    def ran(self) -> Counter[tuple[str, str]]:
        """Return how often each node began to work on each message."""
        return Counter((line.split()[0], line.split()[2]) for line in self._lines())

    def _lines(self) -> list[str]:
        return self._diary.read_text(encoding="utf-8").splitlines() if self._diary.exists() else []

    def stop(self) -> None:
        """Let them finish what they have, and end."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(PATIENCE_S)


@asynccontextmanager
async def workers(redis: RedisServer, postgres: PostgresServer) -> AsyncIterator[Workers]:
    """Start both workers, and stop them at the end."""
    with tempfile.TemporaryDirectory() as folder:
        both = Workers(redis, postgres, Path(folder) / "diary")
        try:
            for name in WORKERS:
                both.start(name)
            yield both
        finally:
            await asyncio.to_thread(both.stop)


async def follow(city: str, trace: Trace) -> Offer:
    """Write the quotes of a trip as they come, and return the offer."""
    async for chunk in trace.chunks():
        print(f"  {city}: {chunk.text} (attempt {chunk.meta['attempt']})")
    offer: Offer = await trace.result()
    return offer


async def main(cities: list[str]) -> None:
    """Quote trips; this process submits them and runs no node itself."""
    with PostgresServer() as postgres, RedisServer() as redis:
        async with (
            PostgresStateStore(postgres.dsn) as store,
            RedisMessageBus(redis.url, lease_s=LEASE_S) as bus,
            workers(redis, postgres) as both,
            flow.run(nodes=set(), state_store=store, message_bus=bus, lease_s=LEASE_S),
            asyncio.timeout(PATIENCE_S),
        ):
            traces = [await flow.submit(Trip(city=city, nights=3)) for city in cities]
            following = [asyncio.create_task(follow(city, trace)) for city, trace in zip(cities, traces, strict=True)]
            await both.kill_when_at_work("south", "hotel")
            print("killed worker south while it quoted a hotel; it is started again")
            both.start("south")
            for offer in await asyncio.gather(*following):
                print(f"{offer.city}: {offer.price} for {', '.join(offer.parts)}")
            steps = {trace.trace_id: await store.load_steps(trace.trace_id) for trace in traces}
            again = sum(count - 1 for count in both.ran().values())
        print(f"steps recorded: {sum(map(len, steps.values()))}; begun again after the kill: {again}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cities", nargs="*", default=["Lisbon", "Oslo", "Kyoto"])
    asyncio.run(main(parser.parse_args().cities))
