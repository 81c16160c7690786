"""The same on fasta2a, which answers a message with the task before its work is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fasta2a import FastA2A, Worker
from fasta2a.broker import InMemoryBroker
from fasta2a.storage import InMemoryStorage


class Greeter(Worker):
    """Greets, or streams so many pieces."""

    async def run_task(self, params: Any) -> None:
        """Do what the text says."""
        task_id, context_id = params["id"], params["context_id"]
        word, _, count = params["message"]["parts"][0]["text"].partition(" ")
        await self.storage.update_task(task_id, state="working")
        artifacts = self.build_artifacts(f"Hello {word}") if word != "stream" else []
        for number in range(int(count or 0)):
            artifact = {"artifact_id": "words", "parts": [{"text": f"word {number} "}]}
            await self.publish_artifact(task_id, context_id, artifact, append=number > 0, last_chunk=False)
        await self.storage.update_task(task_id, state="completed", new_artifacts=artifacts)

    async def cancel_task(self, params: Any) -> None:
        """Nothing is cancelled here."""

    def build_message_history(self, history: list[Any]) -> list[Any]:
        """There is no model that would want it."""
        return history

    def build_artifacts(self, result: Any) -> list[Any]:
        """Return the result as an artifact."""
        return [{"artifact_id": "result", "parts": [{"text": result}]}]


storage: Any = InMemoryStorage()
broker = InMemoryBroker()


@asynccontextmanager
async def lifespan(app: FastA2A) -> AsyncIterator[None]:
    """Run one worker beside the server."""
    async with app.task_manager, Greeter(broker=broker, storage=storage).run():
        yield


app = FastA2A(storage=storage, broker=broker, lifespan=lifespan)
