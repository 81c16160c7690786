"""Calls the agent, with its state in a file: `caller.py URL FILE [resume]` prints the chunks and the result."""

import asyncio
import sys

from penguiflow import Message, RemoteNode, Trace, create
from penguiflow_a2a import A2AClientTransport
from penguiflow_state import SqliteStateStore


async def follow(trace: Trace) -> None:
    """Print what the trace gives."""
    async for chunk in trace.chunks():
        print("chunk", chunk.text, flush=True)
    print("result", (await trace.result()).payload, flush=True)


async def main(url: str, path: str, *, again: bool) -> None:
    """Ask, or go on where a process that died was."""
    async with A2AClientTransport(base_url=url) as transport, SqliteStateStore(path) as store:
        counter = RemoteNode("counter", transport=transport, skill="count", agent_url=url)
        async with create(counter.to(), name="caller").run(state_store=store, resume=False) as flow:
            if again:
                await follow(await flow.resume("trace-1", force=True))
            else:
                await follow(await flow.submit(Message(payload="please", trace_id="trace-1")))


asyncio.run(main(sys.argv[1], sys.argv[2], again="resume" in sys.argv))
