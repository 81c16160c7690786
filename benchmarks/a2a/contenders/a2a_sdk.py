"""The same on the server of a2a-sdk."""

from __future__ import annotations

from starlette.applications import Starlette

from a2a.helpers import new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part


class Executor(AgentExecutor):
    """Greets, or streams so many pieces."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Do what the text says."""
        word, _, count = context.get_user_input().partition(" ")
        await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        if word != "stream":
            await updater.add_artifact([Part(text=f"Hello {word}")], artifact_id="result")
        for number in range(int(count or 0)):
            await updater.add_artifact([Part(text=f"word {number} ")], artifact_id="words", append=number > 0)
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Nothing is cancelled here."""


card = AgentCard(
    name="benchmark",
    description="Greets.",
    version="1",
    supported_interfaces=[
        AgentInterface(url="http://127.0.0.1", protocol_binding="JSONRPC", protocol_version="1.0"),
    ],
    capabilities=AgentCapabilities(streaming=True),
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    skills=[AgentSkill(id="greet", name="greet", description="Greets.", tags=["greeting"])],
)
app = Starlette(routes=create_jsonrpc_routes(DefaultRequestHandler(Executor(), InMemoryTaskStore(), card), "/"))
