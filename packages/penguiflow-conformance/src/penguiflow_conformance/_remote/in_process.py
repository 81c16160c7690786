"""A transport to an agent in the same process: what the tests of the contract itself are run against."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

from penguiflow_conformance._remote.agent import AgentEnded, ContractAgent

__all__ = ["URL", "LocalTask", "LocalTransport"]

URL = "local:agent"
"""Where the agent is."""


class LocalTask:
    """A task of the agent: the parts of its answer so far, and whoever waits for more."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.parts: list[dict[str, Any]] = []
        self.grown = asyncio.Condition()
        self.work: asyncio.Task[None] | None = None

    async def add(self, **part: Any) -> None:
        """Add a part, and wake those who read."""
        names = {"task_id": self.task_id, "context_id": "c", "position": str(len(self.parts))}
        async with self.grown:
            self.parts.append({**part, **names})
            self.grown.notify_all()

    async def read(self, after: int = -1) -> AsyncIterator[dict[str, Any]]:
        """Give the parts past the one of that index, as they come."""
        for index in itertools.count(after + 1):
            async with self.grown:
                while len(self.parts) <= index:
                    await self.grown.wait()
            yield self.parts[index]
            if self.parts[index]["kind"] == "result":
                return


class LocalTransport:
    """Runs each message as a task of an agent in this event loop; at most `connections` calls at once."""

    def __init__(self, agent: ContractAgent, *, connections: int = 100) -> None:
        self._agent = agent
        self._tasks: dict[str, LocalTask] = {}
        self._ids = itertools.count()
        self.connections = asyncio.Semaphore(connections)

    async def send(self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        """Send a message, and wait for the answer; see `RemoteTransport`."""
        async with self.connections:
            parts = [part async for part in self.start(agent_url, message).read()]
        return {key: value for key, value in parts[-1].items() if key != "kind"}

    async def stream(
        self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """Send a message, and give the parts of the answer; see `RemoteTransport`."""
        async with self.connections:
            async for part in self.start(agent_url, message).read():
                yield part

    async def cancel(self, agent_url: str, task_id: str) -> None:
        """Cancel a task; see `RemoteTransport`."""
        task = self._tasks.get(task_id)
        if task is not None and task.work is not None:
            task.work.cancel()
            await asyncio.wait([task.work])

    async def resubscribe(
        self, agent_url: str, task_id: str, after: str | None = None, agent_card: dict[str, Any] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Take up the answer of a task; see `ResumableTransport`."""
        async for part in self._tasks[task_id].read(-1 if after is None else int(after)):
            yield part

    async def aclose(self) -> None:
        """Cancel what still runs."""
        running = [task.work for task in self._tasks.values() if task.work is not None]
        for work in running:
            work.cancel()
        if running:
            await asyncio.wait(running)

    def start(self, agent_url: str, message: dict[str, Any]) -> LocalTask:
        """Begin a task.

        Raises:
            ConnectionRefusedError: the agent is elsewhere.
        """
        if agent_url != URL:
            raise ConnectionRefusedError(f"no agent at {agent_url}")
        task = LocalTask(f"task-{next(self._ids)}")
        self._tasks[task.task_id] = task
        task.work = asyncio.create_task(self._run(task, message))
        return task

    async def _run(self, task: LocalTask, message: dict[str, Any]) -> None:
        async def emit(text: str) -> None:
            await task.add(kind="chunk", text=text)

        await task.add(kind="status", state="working")
        try:
            result = await self._agent.answer(message["skill"], message["payload"], emit)
        except AgentEnded as ended:
            await task.add(kind="result", state=ended.state, message=ended.message)
        except asyncio.CancelledError:
            await task.add(kind="result", state="canceled")
        else:
            await task.add(kind="result", state="completed", result=result)
