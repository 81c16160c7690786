"""Streams a model's words to its clients, over Server-Sent Events and WebSockets: `flow.py --port 8000`.

Each request is a trace of one flow. A client that is slow slows its own trace, and one that leaves cancels it.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from penguiflow import Context, ModelRegistry, Node, PenguiFlow, Trace, create
from penguiflow.middlewares import log_flow_events
from penguiflow.sinks import send_events, sse_events

WORD_S = 0.02
"""How long the model below takes for a word."""


class Prompt(BaseModel):
    text: str = Field(min_length=1, max_length=2000)


class Completion(BaseModel):
    text: str
    tokens: int = 0


async def model_words(prompt: str) -> AsyncIterator[str]:
    """Stand in for a model: it repeats what it is told, one word at a time."""
    for word in f"You said: {prompt}".split():
        await asyncio.sleep(WORD_S)
        yield word + " "


async def generate(prompt: Prompt, ctx: Context) -> Completion:
    """Send each word on as it comes, and what they make together at the end."""
    words = []
    async for word in model_words(prompt.text):
        await ctx.emit_chunk(text=word)
        words.append(word)
    await ctx.emit_chunk(done=True)
    return Completion(text="".join(words).strip())


async def count(completion: Completion, ctx: Context) -> Completion:
    return completion.model_copy(update={"tokens": len(completion.text.split())})


def build_flow() -> tuple[PenguiFlow, ModelRegistry]:
    generating, counting = Node(generate), Node(count)
    registry = ModelRegistry()
    registry.register("generate", Prompt, Completion)
    registry.register("count", Completion, Completion)
    return create(generating.to(counting), name="chat", middlewares=[log_flow_events()]), registry


class Server:
    """The web side: a page, and two ways to stream."""

    def __init__(self) -> None:
        self._flow, self._registry = build_flow()

    def app(self) -> Starlette:
        routes = [Route("/", self.page), Route("/sse", self.sse), WebSocketRoute("/ws", self.websocket)]
        return Starlette(routes=routes, lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with self._flow.run(self._registry):
            yield

    async def page(self, request: Request) -> Response:
        return FileResponse(Path(__file__).with_name("page.html"))

    async def sse(self, request: Request) -> Response:
        trace = await self._submit(request.query_params.get("prompt"))
        events = sse_events(trace, heartbeat_s=15, cancel_on_leave=True)
        return StreamingResponse(events, media_type="text/event-stream", headers={"X-Trace-Id": trace.trace_id})

    async def websocket(self, socket: WebSocket) -> None:
        """Answer one prompt after the other, until the client leaves."""
        await socket.accept()
        try:
            while True:
                trace = await self._submit(await socket.receive_text())
                await send_events(trace, send_text=socket.send_text, cancel_on_leave=True)
        except WebSocketDisconnect:
            return

    async def _submit(self, prompt: str | None) -> Trace:
        # The registry turns this into a Prompt; one that is not valid ends its trace, and the client is told why.
        return await self._flow.submit({"text": prompt})


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a flow that streams.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 for any free one")
    arguments = parser.parse_args()
    uvicorn.run(Server().app(), host=arguments.host, port=arguments.port, ws="websockets-sansio")


if __name__ == "__main__":
    main()
