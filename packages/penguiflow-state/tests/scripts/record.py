"""Records steps in several traces at once, and says which are acknowledged: `record.py PATH PREFIX TRACES STEPS`."""

import asyncio
import sys

from penguiflow.state import Step, TraceStart
from penguiflow_state import SqliteStateStore


async def main(path: str, prefix: str, traces: int, steps: int) -> None:
    async with SqliteStateStore(path) as store:
        await asyncio.gather(*(record(store, f"{prefix}{number}", steps) for number in range(traces)))
    print("end", flush=True)


async def record(store: SqliteStateStore, trace_id: str, steps: int) -> None:
    start = TraceStart(trace_id=trace_id, flow="f", version="1", graph={}, message=None, entries=("a",))
    lease = await store.open_trace(start, owner=trace_id, lease_s=60)
    for number in range(steps):
        await store.save_event(trace_id, float(number), "node_end", {"number": number})
        await store.record_step(lease, Step(message_id=f"{number}", node_name="a", outputs=["x" * 200], produced=3))
        print(f"{trace_id} {number}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
