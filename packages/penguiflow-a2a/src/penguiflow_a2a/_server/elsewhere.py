"""Tasks at work in another process, seen through the store that both share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from penguiflow_a2a._server.records import TaskRecord
from penguiflow_a2a._server.spellings import Event, WireEvent, dump
from penguiflow_a2a._server.store import TaskStore
from penguiflow_a2a._server.streams import Source

if TYPE_CHECKING:
    from penguiflow_a2a._server.engine import Engine

__all__ = ["StreamFromElsewhere", "settled_elsewhere"]

_LOOK_EVERY_S = 0.25


async def settled_elsewhere(store: TaskStore, record: TaskRecord) -> TaskRecord:
    """Return a task once another process has settled it."""
    while True:
        found = await store.get(record.owner, record.id)
        if found is not None and found.state.is_settled:
            return found
        await asyncio.sleep(_LOOK_EVERY_S)


class StreamFromElsewhere(Source):
    """The events of a task that another process works on: what has changed in the store since the last look.

    What streams in there comes here in larger pieces. Events have the numbers that they have there, so that the
    stream can be taken up again in any process.
    """

    def __init__(self, engine: Engine, record: TaskRecord, owner: str) -> None:
        super().__init__()
        self._engine = engine
        self._record = record
        self._owner = owner
        self._has_left = asyncio.Event()

    def begin(self) -> None:
        """Count as an open stream of its owner."""
        self._engine.open_stream(self._owner)

    async def batches(self, heartbeat_s: float) -> AsyncIterator[list[Event]]:
        """Give the events; see `Source`."""
        snapshot = WireEvent("task", self._record.document())
        snapshot.seq = self._record.last_seq
        yield [snapshot]
        loop = asyncio.get_running_loop()
        quiet_since = loop.time()
        while not self._record.state.is_settled:
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._has_left.wait()
                return
            except TimeoutError:
                events = await self._look()
            if events:
                quiet_since = loop.time()
                yield events
            elif loop.time() - quiet_since >= heartbeat_s:
                quiet_since = loop.time()
                yield []

    async def _look(self) -> list[Event]:
        before = self._record
        after, _ = await self._engine.find(self._owner, before.id)
        if after.last_seq == before.last_seq:
            return []
        self._record = after
        ids = {"taskId": after.id, "contextId": after.context_id}
        events: list[Event] = [
            WireEvent("artifactUpdate", dump({**ids, **_change(before.artifacts.get(artifact_id), artifact)}))
            for artifact_id, artifact in after.artifacts.items()
            if artifact != before.artifacts.get(artifact_id)
        ]
        if after.status != before.status:
            status = WireEvent("statusUpdate", dump({**ids, "status": json.loads(after.status)}))
            status.settles = after.state.is_settled
            events.append(status)
        if events:
            events[-1].seq = after.last_seq
        return events

    def leave(self) -> None:
        """Stop looking."""
        self._has_left.set()

    async def end(self, *, is_complete: bool) -> None:
        """Stop following."""
        self._engine.close_stream(self._owner)


def _change(before: bytes | None, after: bytes) -> dict[str, Any]:
    """Return what has to be told of an artifact: the text that was added to it, or all of it."""
    artifact = json.loads(after)
    if before is not None:
        old, new = json.loads(before)["parts"], artifact["parts"]
        if len(old) == len(new) == 1 and "text" in old[0] and new[0].get("text", "").startswith(old[0]["text"]):
            added = {**artifact, "parts": [{**new[0], "text": new[0]["text"][len(old[0]["text"]) :]}]}
            return {"artifact": added, "append": True}
    return {"artifact": artifact}
