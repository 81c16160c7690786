"""What the stores on databases have in common: every call as a request to the writer, or as a read."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal, Self, TypeAlias, TypeVar

from penguiflow import LeaseLost, TraceActive, TraceOver
from penguiflow.state import (
    Claim,
    JoinPart,
    JoinState,
    Lease,
    LeaseHolder,
    RemoteBinding,
    Step,
    StepState,
    StoredEvent,
    TraceOutcome,
    TraceRecord,
    TraceStart,
    TraceState,
    UnfilledJoin,
)
from penguiflow_state import _reads
from penguiflow_state._encoding import decode, encode, encode_start, encode_values, merge_values, to_step
from penguiflow_state._group_writer import GroupWriter
from penguiflow_state._requests import Answer, Backend, EventRow, Request

__all__ = ["READERS", "DatabaseStore", "Durability"]

Durability: TypeAlias = Literal["group", "async"]
"""When a write is safe. "group": whatever the journal takes, and bindings, once the call returns, plain events at most
50 ms later. "async": all of it at most `loss_bound_s` seconds after the call returned."""

_Value = TypeVar("_Value")
READERS = 4
"""Threads that read, for each store."""
_PRUNED_AT_ONCE = 100
_EXIT_S = 5.0


class DatabaseStore:
    """A store whose writes go through a `GroupWriter` and whose reads run beside it, in threads of their own.

    It may be used from several event loops. Subclasses say how to write, in their backend, and how to read.
    """

    def __init__(self, backend: Backend, name: str) -> None:
        self._name = name
        self._writer = GroupWriter(backend, name)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix=f"penguiflow-state read {name}")
        # Whoever forgets to close the store loses no event when the interpreter ends.
        self._at_exit = weakref.finalize(self, self._writer.stop, _EXIT_S)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect and bring the tables up to date now, rather than with the first call.

        Raises:
            SchemaMismatch: the database is of a newer version, or not a store.
            StoreUnavailable: it cannot be reached.
        """
        await self._writer.write(Request("nothing", ""))

    async def close(self) -> None:
        """Write what was taken, and disconnect; every call after that is refused. May be called again.

        Raises:
            EventsLost: events could not be written, and no call has said so yet.
        """
        try:
            await self._writer.close()
        finally:
            self._at_exit.detach()
            await asyncio.to_thread(self._readers.shutdown)
            self._close_readers()

    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None:
        """Append an event, which is committed at most 50 ms later; see `StateStore`.

        Raises:
            TypeError: `data` holds what JSON cannot.
            StateStoreError: earlier events of the trace could not be written, or the store is closed.
        """
        await self._writer.add_events([EventRow(trace_id, float(ts), kind, encode(data))])

    async def save_events(self, events: Sequence[StoredEvent]) -> None:
        """Append events, which are committed together at most 50 ms later; see `EventBatches`.

        Raises:
            TypeError: one holds what JSON cannot.
            StateStoreError: earlier events of a trace could not be written, or the store is closed.
        """
        await self._writer.add_events(
            [EventRow(event["trace_id"], float(event["ts"]), event["kind"], encode(event["data"])) for event in events]
        )

    async def load_history(self, trace_id: str) -> list[StoredEvent]:
        """Return the events of a trace, those that this store was given included; see `StateStore`."""
        return await self._read(lambda rows: _reads.history(rows, trace_id), trace_id)

    async def save_remote_binding(self, trace_id: str, context_id: str, task_id: str, agent_url: str) -> None:
        """Note a remote task; see `StateStore`."""
        fields = {"context_id": context_id, "task_id": task_id, "agent_url": agent_url}
        await self._write("save_binding", trace_id, fields)

    async def load_remote_bindings(self, trace_id: str) -> list[RemoteBinding]:
        """Return the remote tasks of a trace; see `RemoteBindings`."""
        return await self._read(lambda rows: _reads.remote_bindings(rows, trace_id))

    async def load_events(self, *, after: int = 0, limit: int = 1000) -> tuple[list[StoredEvent], int]:
        """Return the events of all traces; see `TraceListing`."""
        return await self._read(lambda rows: self._events_after(rows, after, limit))

    async def list_traces(
        self,
        *,
        state: TraceState | None = None,
        flow: str | None = None,
        older_than_s: float | None = None,
        newer_than_s: float | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[TraceRecord]:
        """Return traces, without their values; see `TraceListing`.

        Raises:
            TraceUnknown: there is no trace `after`.
        """
        return await self._read(
            lambda rows: _reads.records(
                rows,
                state=state,
                flow=flow,
                older_than_s=older_than_s,
                newer_than_s=newer_than_s,
                limit=limit,
                after=after,
            )
        )

    async def prune(self, *, older_than_s: float) -> int:
        """Forget what is old, a few traces in each transaction; see `Pruning`. Cancelled, some of it is forgotten."""
        before_s: float = await self._read(lambda rows: rows("SELECT {now} AS now", {})[0]["now"]) - older_than_s
        forgotten = 0
        found = _PRUNED_AT_ONCE
        while found == _PRUNED_AT_ONCE:
            answer = await self._write("prune_ended", "", {"before_s": before_s, "limit": _PRUNED_AT_ONCE})
            found = answer["pruned"]
            forgotten += found
        histories = await self._read(lambda rows: _reads.old_histories(rows, before_s))
        for begin in range(0, len(histories), _PRUNED_AT_ONCE):
            some = histories[begin : begin + _PRUNED_AT_ONCE]
            answer = await self._write("prune_events", "", {"before_s": before_s, "trace_ids": some})
            forgotten += answer["pruned"]
        return forgotten

    async def open_trace(self, start: TraceStart, *, owner: str, lease_s: float) -> Lease:
        """Begin a trace; see `JournalStore`."""
        fields = {
            "flow": start.flow,
            "version": start.version,
            "start": encode_start(start),
            "pending": len(start.entries),
            "owner": owner,
            "lease_s": lease_s,
        }
        answer = await self._write("open_trace", start.trace_id, fields, "start")
        if "refused" in answer:
            raise TraceActive(start.trace_id)
        return Lease(start.trace_id, answer["generation"], "", owner, answer["epoch"])

    async def claim(
        self,
        trace_id: str,
        unit: str,
        *,
        owner: str,
        lease_s: float,
        generation: int | None = None,
        force: bool = False,
    ) -> Claim:
        """Take a unit; see `JournalStore`."""
        fields = {"unit": unit, "owner": owner, "lease_s": lease_s, "generation": generation, "force": force}
        answer = await self._write("claim", trace_id, fields)
        epoch = answer.get("epoch")
        return Claim(
            None if epoch is None else Lease(trace_id, answer["generation"], unit, owner, epoch),
            answer["state"],
            answer.get("holder"),
            answer.get("remaining_s") or 0.0,
            bool(answer.get("finished")),
        )

    async def extend(self, leases: Sequence[Lease], *, lease_s: float) -> list[Lease]:
        """Keep leases; see `JournalStore`."""
        requests = [Request("extend", lease.trace_id, {**_held(lease), "lease_s": lease_s}) for lease in leases]
        answers = await self._writer.write_all(requests)
        return [lease for lease, answer in zip(leases, answers, strict=True) if not answer["kept"]]

    async def release(self, lease: Lease, *, done: bool) -> None:
        """Give a unit up; see `JournalStore`."""
        await self._write("release", lease.trace_id, {**_held(lease), "done": done})

    async def unfinished(self, flow: str, *, owner: str, host: str, limit: int = 100) -> list[LeaseHolder]:
        """Return traces that may have lost their owner; see `JournalStore`."""
        return await self._read(lambda rows: _reads.unfinished(rows, flow, owner=owner, host=host, limit=limit))

    async def mark_started(self, lease: Lease, message_id: str, node_name: str) -> int | None:
        """Note that a node begins; see `JournalStore`."""
        answer = await self._fenced("mark_started", lease, {"message_id": message_id, "node_name": node_name})
        earlier: int | None = answer["earlier"]
        return earlier

    async def record_step(self, lease: Lease, step: Step) -> StepState:
        """Write down what an invocation came to; see `JournalStore`."""
        fields = {
            "message_id": step.message_id,
            "node_name": step.node_name,
            "outputs": encode(step.outputs),
            "produced": step.produced,
            "consumed": encode(list(step.consumed)) if step.consumed else None,
            "taken": len(step.consumed),
            "vals": encode_values(step.values),
        }
        answer = await self._fenced("record_step", lease, fields, "outputs", "vals")
        if answer["first"]:
            recorded = replace(step, values=tuple(step.values), consumed=tuple(step.consumed))
        else:
            recorded = to_step(answer["recorded"][0])
        return StepState(recorded, answer["first"], answer["pending"])

    async def add_join_part(self, lease: Lease, part: JoinPart) -> JoinState:
        """Put a part into a join; see `JournalStore`."""
        fields = {
            "message_id": part.message_id,
            "join": part.join,
            "turn": part.turn,
            "need": part.need,
            "value": encode(part.value),
            "flush": part.flush,
        }
        answer = await self._fenced("add_join_part", lease, fields, "value")
        parts = answer["parts"]
        if parts is not None:
            parts = [_to_part(part, row) for row in parts]
        return JoinState(parts, answer["late"], answer["pending"])

    async def unfilled_joins(self, trace_id: str) -> list[UnfilledJoin]:
        """Return the joins that have not fired; see `JournalStore`."""
        return await self._read(lambda rows: _reads.unfilled(rows, trace_id))

    async def reopen(self, lease: Lease, message_id: str) -> int:
        """Make one more message outstanding; see `JournalStore`."""
        pending: int = (await self._fenced("reopen", lease, {"message_id": message_id}))["pending"]
        return pending

    async def finish_trace(
        self, trace_id: str, outcome: TraceOutcome, *, lease: Lease | None = None, generation: int | None = None
    ) -> TraceOutcome | None:
        """End a trace; see `JournalStore`."""
        fields = {
            **(_held(lease) if lease else {"unit": None, "generation": None, "epoch": None}),
            "wanted": generation,
            "state": outcome.state,
            "error": None if outcome.error is None else encode(outcome.error),
        }
        answer = await self._write("finish_trace", trace_id, fields, "error")
        if "refused" in answer:
            assert lease is not None
            raise _refusal(lease, answer)
        if not answer["known"]:
            return None
        values = merge_values(row["vals"] for row in answer["values"])
        return TraceOutcome(state=answer["state"], error=decode(answer["error"]), values=values)

    async def load_trace(self, trace_id: str) -> TraceRecord | None:
        """Return what is known of a trace; see `JournalStore`."""
        return await self._read(lambda rows: _reads.record(rows, trace_id))

    async def load_steps(self, trace_id: str) -> list[Step]:
        """Return the recorded steps; see `JournalStore`."""
        return await self._read(lambda rows: _reads.steps(rows, trace_id))

    async def load_states(self, trace_ids: Collection[str]) -> dict[str, tuple[int, TraceState]]:
        """Return how traces stand; see `JournalStore`."""
        return await self._read(lambda rows: _reads.states(rows, trace_ids))

    async def _write(self, kind: str, trace_id: str, fields: dict[str, Any], *texts: str) -> Answer:
        return await self._writer.write(Request(kind, trace_id, fields, texts))

    async def _fenced(self, kind: str, lease: Lease, fields: dict[str, Any], *texts: str) -> Answer:
        held = {**fields, "unit": lease.unit, "generation": lease.generation, "epoch": lease.epoch}
        answer = await self._writer.write(Request(kind, lease.trace_id, held, texts))
        if "refused" in answer:
            raise _refusal(lease, answer)
        return answer

    async def _read(self, read: Callable[[_reads.Rows], _Value], trace_id: str = "") -> _Value:
        self._writer.check(trace_id)
        await self._writer.settle()
        if not self._writer.is_open:
            await self.open()
        self._writer.check(trace_id)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._with_rows, read)

    def _with_rows(self, read: Callable[[_reads.Rows], _Value]) -> _Value:
        raise NotImplementedError

    def _events_after(self, rows: _reads.Rows, after: int, limit: int) -> tuple[list[StoredEvent], int]:
        raise NotImplementedError

    def _close_readers(self) -> None:
        raise NotImplementedError


def _to_part(fired_by: JoinPart, row: dict[str, Any]) -> JoinPart:
    return replace(fired_by, message_id=row["message_id"], need=row["need"], value=decode(row["value"]), flush=False)


def _held(lease: Lease) -> dict[str, Any]:
    return {"unit": lease.unit, "generation": lease.generation, "epoch": lease.epoch}


def _refusal(lease: Lease, answer: Answer) -> LeaseLost | TraceOver:
    if answer["refused"] == "over":
        return TraceOver(lease.trace_id, answer["state"])
    return LeaseLost(lease.trace_id, lease.unit, lease.owner, lease.epoch)
