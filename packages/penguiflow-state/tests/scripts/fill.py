"""Records steps until there is no room, makes room and goes on: `fill.py PATH`. It prints how many there are in all."""

import asyncio
import resource
import sys

from penguiflow.state import Step, TraceStart
from penguiflow_state import SqliteStateStore, StateStoreError


async def main(path: str) -> None:
    async with SqliteStateStore(path) as store:
        start = TraceStart(trace_id="t", flow="f", version="1", graph={}, message=None, entries=("a",))
        lease = await store.open_trace(start, owner="o", lease_s=60)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        done = 0
        try:
            while True:
                await store.record_step(lease, Step(message_id=f"{done}", node_name="a", outputs="x" * 10_000))
                done += 1
        except StateStoreError as error:
            print(error.code, error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await store.record_step(lease, Step(message_id="after", node_name="a"))
        ids = [step.message_id for step in await store.load_steps("t")]
        print(ids == [*map(str, range(done)), "after"], done)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
