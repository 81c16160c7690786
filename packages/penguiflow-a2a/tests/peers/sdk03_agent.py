"""An agent on the server of a2a-sdk 0.3: `sdk03_agent.py [--http-json]` prints its URL and serves until it is killed.

It does what `sdk_agent.py` does, in an environment of its own. The two bindings are two servers in that version.
"""

import argparse
import asyncio
import json
import socket
from typing import Any

import uvicorn
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.apps import A2AStarletteApplication
from a2a.server.apps.rest.rest_adapter import RESTAdapter
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentSkill,
    DataPart,
    FilePart,
    FileWithBytes,
    Message,
    Part,
    Role,
    TextPart,
)
from a2a.utils import new_task
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SEEN: dict[str, Any] = {"messages": [], "metadata": [], "cancelled": []}


def text(words: str) -> Part:
    return Part(root=TextPart(text=words))


class Peer(AgentExecutor):
    """Does what it is told."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        SEEN["messages"].append(context.message.message_id)
        SEEN["metadata"].append(context.message.metadata)
        word, *rest = (context.get_user_input() or "data").split()
        if word == "direct":
            await event_queue.enqueue_event(Message(message_id="m", role=Role.agent, parts=[text("at once")]))
            return
        if context.current_task is None:
            await event_queue.enqueue_event(new_task(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        await getattr(self, word)(updater, context, *rest)

    async def hello(self, updater: TaskUpdater, context: RequestContext) -> None:
        await updater.add_artifact([text("Hello")], artifact_id="greeting")
        await updater.complete()

    async def data(self, updater: TaskUpdater, context: RequestContext) -> None:
        given = context.message.parts[0].root
        file = FilePart(file=FileWithBytes(bytes="AP8=", name="f"))
        await updater.add_artifact([Part(root=DataPart(data=given.data)), Part(root=file)])
        await updater.complete()

    async def stream(self, updater: TaskUpdater, context: RequestContext, count: str, pause_ms: str = "0") -> None:
        for number in range(int(count)):
            last = number == int(count) - 1
            words = [text(f"{number} ")]
            await updater.add_artifact(words, artifact_id="words", append=number > 0, last_chunk=last)
            await asyncio.sleep(int(pause_ms) / 1000)
        await updater.complete()

    async def hang(self, updater: TaskUpdater, context: RequestContext) -> None:
        await asyncio.Event().wait()

    async def fail(self, updater: TaskUpdater, context: RequestContext) -> None:
        await updater.failed(updater.new_agent_message([text("out of fish")]))

    async def ask(self, updater: TaskUpdater, context: RequestContext) -> None:
        await updater.requires_input(updater.new_agent_message([text("which year?")]), final=True)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        SEEN["cancelled"].append(context.task_id)
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def card(url: str, *, http_json: bool, streaming: bool) -> AgentCard:
    return AgentCard(
        name="peer",
        description="Does what it is told.",
        version="1",
        url=url,
        preferred_transport="HTTP+JSON" if http_json else "JSONRPC",
        capabilities=AgentCapabilities(streaming=streaming),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="any", name="any", description="anything", tags=["any"])],
    )


async def seen(request: Request) -> JSONResponse:
    return JSONResponse(SEEN)


def routes_over_http_json(served: AgentCard, handler: DefaultRequestHandler) -> list[Route]:
    adapter = RESTAdapter(agent_card=served, http_handler=handler)

    async def give_card(request: Request) -> JSONResponse:
        return JSONResponse(json.loads(served.model_dump_json(exclude_none=True, by_alias=True)))

    routes = [Route(path, endpoint, methods=[method]) for (path, method), endpoint in adapter.routes().items()]
    return [*routes, Route("/.well-known/agent-card.json", give_card)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--http-json", action="store_true")
    parser.add_argument("--no-streaming", action="store_true")
    arguments = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    served = card(url, http_json=arguments.http_json, streaming=not arguments.no_streaming)
    handler = DefaultRequestHandler(Peer(), InMemoryTaskStore())
    if arguments.http_json:
        routes = routes_over_http_json(served, handler)
    else:
        routes = A2AStarletteApplication(agent_card=served, http_handler=handler).routes()
    print(url, flush=True)
    config = uvicorn.Config(Starlette(routes=[*routes, Route("/seen", seen)]), log_level="warning")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
