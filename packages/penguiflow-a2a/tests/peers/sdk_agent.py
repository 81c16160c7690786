"""An agent on the server of a2a-sdk 1.x: `sdk_agent.py [--no-streaming]` prints its port and serves until it is killed.

What it does is the text of the message. `GET /seen` tells which messages it has worked on, and which tasks were
cancelled.
"""

import argparse
import asyncio
import socket
from typing import Any

import uvicorn
from a2a.helpers import new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Message, Part, Role
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SEEN: dict[str, Any] = {"messages": [], "metadata": [], "cancelled": []}


class Peer(AgentExecutor):
    """Does what it is told."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        SEEN["messages"].append(context.message.message_id)
        SEEN["metadata"].append(MessageToDict(context.message.metadata))
        word, *rest = (context.get_user_input() or "data").split()
        if word == "direct":
            parts = [Part(text="at once")]
            await event_queue.enqueue_event(Message(message_id="m", role=Role.ROLE_AGENT, parts=parts))
            return
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        await getattr(self, word)(updater, context, *rest)

    async def hello(self, updater: TaskUpdater, context: RequestContext) -> None:
        await updater.add_artifact([Part(text="Hello")], artifact_id="greeting")
        await updater.complete()

    async def data(self, updater: TaskUpdater, context: RequestContext) -> None:
        assert context.message is not None
        await updater.add_artifact([Part(data=context.message.parts[0].data), Part(raw=b"\x00\xff", filename="f")])
        await updater.complete()

    async def number(self, updater: TaskUpdater, context: RequestContext) -> None:
        await updater.add_artifact([Part(data=ParseDict(42, Value()))])
        await updater.complete()

    async def stream(self, updater: TaskUpdater, context: RequestContext, count: str, pause_ms: str = "0") -> None:
        for number in range(int(count)):
            text, last = f"{number} ", number == int(count) - 1
            await updater.add_artifact([Part(text=text)], artifact_id="words", append=number > 0, last_chunk=last)
            await asyncio.sleep(int(pause_ms) / 1000)
        await updater.complete()

    async def hang(self, updater: TaskUpdater, context: RequestContext) -> None:
        await asyncio.Event().wait()

    async def fail(self, updater: TaskUpdater, context: RequestContext) -> None:
        await updater.failed(updater.new_agent_message([Part(text="out of fish")]))

    async def ask(self, updater: TaskUpdater, context: RequestContext) -> None:
        await updater.requires_input(updater.new_agent_message([Part(text="which year?")]))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        SEEN["cancelled"].append(context.task_id)
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def card(url: str, *, streaming: bool) -> AgentCard:
    return AgentCard(
        name="peer",
        description="Does what it is told.",
        version="1",
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0"),
            AgentInterface(url=f"{url}/rest", protocol_binding="HTTP+JSON", protocol_version="1.0"),
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="0.3"),
            AgentInterface(url=f"{url}/rest", protocol_binding="HTTP+JSON", protocol_version="0.3"),
        ],
        capabilities=AgentCapabilities(streaming=streaming),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="any", name="any", description="anything", tags=["any"])],
    )


async def seen(request: Request) -> JSONResponse:
    return JSONResponse(SEEN)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-streaming", action="store_true")
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    served = card(url, streaming=not parser.parse_args().no_streaming)
    handler = DefaultRequestHandler(Peer(), InMemoryTaskStore(), served)
    routes = [
        *create_agent_card_routes(served),
        *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True),
        *create_rest_routes(handler, enable_v0_3_compat=True, path_prefix="/rest"),
        Route("/seen", seen),
    ]
    print(url, flush=True)
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning"))
    asyncio.run(server.serve(sockets=[listening]))


if __name__ == "__main__":
    main()
