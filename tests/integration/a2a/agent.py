"""An agent that counts slowly: prints its URL, serves until it is killed, and answers with how often it was asked."""

import asyncio
import socket

import uvicorn

from penguiflow import Context, Node, create
from penguiflow_a2a.server import create_a2a_app, describe

asked = 0


async def count(text: str, ctx: Context) -> str:
    """Count to thirty."""
    global asked
    asked += 1
    for number in range(30):
        await ctx.emit_chunk(text=f"{number} ", done=number == 29)
        await asyncio.sleep(0.05)
    return f"asked {asked} times"


flow = create(Node(count).to(), name="counter")
listener = socket.create_server(("127.0.0.1", 0))
url = f"http://127.0.0.1:{listener.getsockname()[1]}"
server = uvicorn.Server(uvicorn.Config(create_a2a_app(flow, card=describe(flow, url=url)), log_level="warning"))
print(url, flush=True)
asyncio.run(server.serve(sockets=[listener]))
