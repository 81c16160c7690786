"""Sends what a node emits to where it belongs: a successor, the results of the trace, or the reader of its chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penguiflow._runtime.budgets import take_hop
from penguiflow._runtime.envelope import Envelope, Path, extend_path
from penguiflow._runtime.kinds import CHUNK, FINAL, MESSAGE, PLAIN, WORKING, kind_of, payload_kind
from penguiflow._runtime.station import Blocked, Edge, Station
from penguiflow.errors import QueueFull, UnknownTarget
from penguiflow.types import Message, Payload

if TYPE_CHECKING:
    from penguiflow._runtime.context import Context
    from penguiflow._runtime.run import Run
    from penguiflow.node import Node

__all__ = ["find_edges", "send", "wait_for_room"]


def send(ctx: Context, value: Payload, to: Sequence[Edge] | None, *, wait: bool = True) -> list[Blocked] | None:
    """Deliver one emission of an invocation; returns what to wait for where a queue is full.

    Raises:
        FlowError: the run has ended (`TRACE_ENDED`), or a cap of the trace is reached (`QUEUE_OVERFLOW`).
        QueueFull: `wait` is false and a queue is full; then nothing was delivered.
    """
    station, run = ctx._station, ctx._run
    if run.done:
        raise run.ended_error(station.name)
    kind = kind_of(value)
    if kind is not PLAIN:
        if kind is MESSAGE:
            value = _adopt(ctx, value)
            kind = payload_kind(value)
        if kind is CHUNK and to is None:
            run.open_chunks().put_nowait(value)
            return None
    index = ctx._sent
    ctx._sent = index + 1
    edges = station.edges if to is None else to
    events = station.runtime.events
    if events is not None:
        events.emitted(station, run, ctx, [edge.station.name for edge in edges])
    if not edges or (kind is FINAL and to is None):
        blocked = run.give(station.name, value)
        return None if blocked is None else [blocked]
    if not wait:
        _require_room(run, edges)
    waiting: list[Blocked] | None = None
    envelope = ctx._envelope
    fork = len(edges) > 1 and isinstance(value, Message) and bool(value.meta)
    for edge in edges:
        target, sent, hop = edge.station, value, envelope.hop
        if edge.closing:
            hop += 1
            if kind is WORKING:
                sent = take_hop(run, station, value)
                if sent is None:
                    continue
        elif fork:
            # Branches must not see each other's changes to the metadata.
            sent = value.model_copy(update={"meta": dict(value.meta)})
        path: Path = extend_path(envelope.path, station.name, target.name, index)
        sent_envelope = Envelope(run, sent, hop, path)
        if edge.cyclic:
            target.push(sent_envelope)
        elif not target.offer(sent_envelope):
            blocked = Blocked(target, sent_envelope)
            target.blocked.append(blocked)
            waiting = [blocked] if waiting is None else [*waiting, blocked]
    return waiting


async def wait_for_room(station: Station, waiting: list[Blocked]) -> None:
    """Wait until every message is in, or its run has ended. Cancelled: those not yet in are taken back."""
    lent = any(blocked.lends_slot for blocked in waiting)
    if lent:
        station.free_slot()
    try:
        for blocked in waiting:
            await blocked.future
    finally:
        if lent:
            station.active += 1
        for blocked in waiting:
            blocked.withdraw()


def find_edges(station: Station, to: Node | str | Sequence[Node | str], trace_id: str) -> list[Edge]:
    """Return the edges that lead to the named successors, in the order given.

    Raises:
        UnknownTarget: one is no successor of the station's node.
    """
    wanted = [to] if isinstance(to, str) or not isinstance(to, Sequence) else to
    edges = []
    for target in wanted:
        name = target if isinstance(target, str) else getattr(target, "name", repr(target))
        edge = next((edge for edge in station.edges if edge.station.name == name), None)
        if edge is None:
            known = [edge.station.name for edge in station.edges]
            raise UnknownTarget(name, known, source=station.name, trace_id=trace_id)
        edges.append(edge)
    return edges


def _require_room(run: Run, edges: Sequence[Edge]) -> None:
    for edge in edges:
        if not edge.cyclic and not edge.station.has_room(run):
            raise QueueFull(edge.station.name, edge.station.maxsize, run.trace_id)


def _adopt(ctx: Context, message: Message) -> Message:
    """Make a message that a node built belong to the invocation's trace; usually it does already."""
    run = ctx._run
    update: dict[str, object] = {}
    if message.trace_id != run.trace_id:
        update["trace_id"] = run.trace_id
    inherited = ctx.meta
    if inherited and message.meta is not inherited and not inherited.keys() <= message.meta.keys():
        update["meta"] = {**inherited, **message.meta}
    if message.deadline_s is not None:
        run.tighten_deadline(message.deadline_s)
    if message.deadline_s != run.deadline_s:
        update["deadline_s"] = run.deadline_s
    return message.model_copy(update=update) if update else message
