"""A flow that is an A2A agent: `flow.py` serves it and calls it once, `flow.py --port 8000` serves it until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import socket
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from penguiflow import Context, Node, create
from penguiflow_a2a.server import InputRequired, create_a2a_app, describe
from penguiflow_a2a.types import AgentSkill

PRICES = {"herring": 3, "krill": 1, "squid": 5}


async def read(order: str, ctx: Context) -> list[str] | InputRequired:
    """Takes orders for fish, and asks where none is named."""
    # What was said before stands in the task's history, so an answer to the question is an order too.
    fish = [word for word in order.lower().split() if word in PRICES]
    return fish or InputRequired(f"Which fish? There is {', '.join(PRICES)}.")


async def price(fish: list[str] | InputRequired, ctx: Context) -> dict[str, Any] | InputRequired:
    """Adds up, and says so as it goes."""
    if isinstance(fish, InputRequired):
        return fish
    for name in fish:
        await ctx.emit_chunk("receipt", text=f"{name}: {PRICES[name]}\n", done=name is fish[-1])
    return {"fish": fish, "total": sum(PRICES[name] for name in fish)}


flow = create(Node(read).to(Node(price)), name="fishmonger")


def make_app(url: str) -> FastAPI:
    """Return the agent as an application that clients reach at `url`."""
    order = AgentSkill(id="order", name="Order fish", description=read.__doc__ or "", tags=["shop"])
    return create_a2a_app(flow, card=describe(flow, url=url, name="Fishmonger", skills=[order]))


async def order_twice(url: str) -> None:
    """Order nothing in particular, then answer the agent's question."""
    async with httpx.AsyncClient(base_url=url, headers={"A2A-Version": "1.0"}, trust_env=False) as client:
        card = (await client.get("/.well-known/agent-card.json")).json()
        print(f"{card['name']}: {card['skills'][0]['description']}")
        task = (await send(client, "Some fish, please"))["task"]
        print(task["status"]["state"], task["status"]["message"]["parts"][0]["text"])
        task = (await send(client, "Two herring: herring herring", taskId=task["id"]))["task"]
        print(task["status"]["state"], [part for artifact in task["artifacts"] for part in artifact["parts"]])


async def send(client: httpx.AsyncClient, text: str, **fields: str) -> Any:
    """Send text and return the answer."""
    message = {"messageId": text, "role": "ROLE_USER", "parts": [{"text": text}], **fields}
    return (await client.post("/message:send", json={"message": message})).raise_for_status().json()


async def main() -> None:
    """Serve, and call the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="serve there until Ctrl-C")
    port = parser.parse_args().port
    listener = socket.create_server(("127.0.0.1", port or 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(make_app(url), log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    if port is None:
        await order_twice(url)
        server.should_exit = True
    else:
        print(f"serving at {url}", flush=True)
    await serving


if __name__ == "__main__":
    asyncio.run(main())
