"""The server as users hold it: a flow behind routes, with a life of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, Self

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from penguiflow import FlowDefinitionError, ModelRegistry, PenguiFlow, StateStore
from penguiflow_a2a._protocol.cards import AgentCard
from penguiflow_a2a._protocol.tasks import Message
from penguiflow_a2a._server.callers import Authenticator
from penguiflow_a2a._server.card import CardEndpoint, CardFormat
from penguiflow_a2a._server.engine import AnswerKind, Engine
from penguiflow_a2a._server.gate import Gate
from penguiflow_a2a._server.jsonrpc import JsonRpc
from penguiflow_a2a._server.limits import ServerLimits
from penguiflow_a2a._server.operations import ExtendedCard, Operations
from penguiflow_a2a._server.push import Pusher
from penguiflow_a2a._server.rest import Rest
from penguiflow_a2a._server.rest_paths import PATHS, PREFIXES
from penguiflow_a2a._server.store import MemoryTaskStore, TaskStore
from penguiflow_a2a._server.values import Reader, default_reader

__all__ = ["A2AServer", "create_a2a_app"]

CARD_PATH = "/.well-known/agent-card.json"


class A2AServer:
    """Serves a flow as an A2A agent, in versions 1.0 and 0.3, over JSON-RPC and HTTP+JSON.

    ```python
    server = A2AServer(flow, card=describe(flow, url="https://agent.example"))
    server.mount(app)
    ```

    A message that a client sends becomes a task, and the task a trace of the flow. Chunks of the trace become updates
    of an artifact, its values artifacts. `store` keeps the tasks: a `TaskStore`, or a `StateStore`, where they outlive
    the process; without one they are kept in memory. `auth` says who a client is from the headers of its request, and
    tasks belong to whoever began them; without it all clients are one. `reader` turns a message into the payload for
    the flow; see `default_reader` for what happens without. `answers` decides which messages are answered with a
    message and no task.

    Entering it starts the flow, unless it runs already, and leaving it waits for the tasks at work for `drain_s`
    seconds, then ends them; `mount` and `create_a2a_app` see to both.

    Raises:
        FlowDefinitionError: the card names no interface, or an extended card without `auth`.
    """

    def __init__(
        self,
        flow: PenguiFlow,
        *,
        card: AgentCard,
        store: TaskStore | StateStore | None = None,
        auth: Authenticator | None = None,
        limits: ServerLimits | None = None,
        registry: ModelRegistry | None = None,
        reader: Reader | None = None,
        answers: Callable[[Message], AnswerKind] | None = None,
        extended_card: ExtendedCard | None = None,
        card_format: CardFormat = "dual",
        allowed_origins: Collection[str] = (),
        drain_s: float = 10.0,
    ) -> None:
        _check_card(card, extended_card, auth)
        self.flow = flow
        self.card = card
        self.limits = limits or ServerLimits()
        self._registry = registry
        self._drain_s = drain_s
        self._is_running = self._owns_flow = False
        self._alive: asyncio.Task[None] | None = None
        tasks = _task_store(store, self.limits)
        pusher = Pusher(self.limits, is_enabled=card.capabilities.push_notifications is True, note=tasks.note)
        modes = {*card.default_input_modes, *(mode for skill in card.skills for mode in skill.input_modes)}
        self._engine = Engine(
            flow,
            store=tasks,
            limits=self.limits,
            reader=reader or default_reader(flow),
            answers=answers,
            input_modes=frozenset(mode.lower() for mode in modes),
            pusher=pusher,
        )
        self._pusher = pusher
        self._gate = Gate.of(card, self.limits, auth, frozenset(allowed_origins))
        self._operations = Operations(self._engine, pusher, card, extended_card)
        self._card_endpoint = CardEndpoint(card, card_format)

    @property
    def active_tasks(self) -> int:
        """How many tasks are at work in this process."""
        return self._engine.active

    def routes(self, path: str = "") -> list[BaseRoute]:
        """Return the routes of the agent under a path, for an application whose life is not that of `mount`."""
        rpc = JsonRpc(self._gate, self._operations)
        found: list[BaseRoute] = [Route(path or "/", rpc, methods=["POST"])]
        if path:
            found.append(Route(f"{path}/", rpc, methods=["POST"]))
        for prefix in PREFIXES:
            for each in PATHS:
                endpoint = Rest(self._gate, self._operations, self._engine, each.methods)
                found.append(Route(f"{path}{prefix}{each.path}", endpoint, methods=list(each.methods)))
        return found

    def card_route(self, path: str = "") -> BaseRoute:
        """Return the route of the card, which clients look for at the root of a host or under the agent's URL."""
        return Route(f"{path}{CARD_PATH}", self._card_endpoint, methods=["GET"])

    def mount(self, app: Starlette, path: str = "") -> None:
        """Add the agent to a FastAPI or Starlette application, under `path`; it lives as long as the application.

        The card is served at the root of the application, and under the path too.
        """
        app.router.routes.extend(self.routes(path))
        app.router.routes.append(self.card_route())
        if path:
            app.router.routes.append(self.card_route(path))
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(application: Any) -> AsyncIterator[Any]:
            async with self, inner(application) as state:
                yield state

        app.router.lifespan_context = lifespan

    async def __aenter__(self) -> Self:
        if self._is_running:
            raise FlowDefinitionError("the A2A server runs already")
        self._owns_flow = not self.flow.running
        if self._owns_flow:
            self.flow.run(self._registry)
        self._is_running = True
        self._engine.is_stopping = False
        await self._engine.look_for_journal()
        self._alive = asyncio.create_task(self._engine.keep_alive())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_running = False
        assert self._alive is not None
        self._alive.cancel()
        try:
            await self._engine.stop(self._drain_s)
            await self._pusher.stop(self._drain_s)
        finally:
            if self._owns_flow:
                await self.flow.stop(timeout_s=self._drain_s)


def create_a2a_app(
    flow: PenguiFlow,
    *,
    card: AgentCard,
    store: TaskStore | StateStore | None = None,
    auth: Authenticator | None = None,
    limits: ServerLimits | None = None,
    **options: Any,
) -> FastAPI:
    """Return a FastAPI application that serves a flow as an A2A agent at its root; see `A2AServer` for the options."""
    server = A2AServer(flow, card=card, store=store, auth=auth, limits=limits, **options)
    # Its own pages would lie where a tenant's paths are, and describe nothing of the protocol.
    app = FastAPI(title=card.name, version=card.version, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.a2a = server
    server.mount(app)
    return app


def _task_store(store: TaskStore | StateStore | None, limits: ServerLimits) -> TaskStore:
    if store is None:
        return MemoryTaskStore(limits)
    if isinstance(store, TaskStore):
        return store
    if isinstance(store, StateStore):
        from penguiflow_a2a._server.state_store import StateTaskStore

        return StateTaskStore(store, limits)
    raise FlowDefinitionError(f"store is {store!r}, which is neither a TaskStore nor a StateStore")


def _check_card(card: AgentCard, extended_card: ExtendedCard | None, auth: Authenticator | None) -> None:
    if not card.supported_interfaces:
        raise FlowDefinitionError(
            "the card names no interface, so no client could reach the agent; make it with "
            "describe(flow, url=...), or set supported_interfaces"
        )
    if extended_card is not None and auth is None:
        raise FlowDefinitionError("an extended card is for clients that are known: pass auth as well")
