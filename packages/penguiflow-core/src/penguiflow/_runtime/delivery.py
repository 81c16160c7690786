"""Sends what a node emits to where it belongs: a successor, the results of the trace, or the reader of its chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penguiflow._runtime.blocking import Blocked
from penguiflow._runtime.budgets import take_hop
from penguiflow._runtime.kinds import CHUNK, FINAL, KINDS, MESSAGE, PLAIN, WORKING, Kind, kind_of, payload_kind
from penguiflow._runtime.origin import Origin, collapse
from penguiflow._runtime.station import Edge, Station
from penguiflow.errors import FlowDefinitionError, QueueFull, UnknownTarget
from penguiflow.types import Message, Payload

if TYPE_CHECKING:
    from penguiflow._runtime.context import Context
    from penguiflow._runtime.run import Run
    from penguiflow.node import Node

__all__ = ["adopt", "find_edges", "is_adopted", "rewrap", "send", "send_along", "wait_for_room"]

# Turns of a loop after which the origin of its messages is folded into one id.
_COLLAPSE_EVERY = 8


def send(ctx: Context, value: Payload, to: Sequence[Edge] | None, *, wait: bool = True) -> list[Blocked] | None:
    """Deliver one emission of an invocation; returns what to wait for where a queue is full.

    Raises:
        FlowError: the run has ended (`TRACE_ENDED`), or a cap of the trace is reached (`QUEUE_OVERFLOW`).
        QueueFull: `wait` is false and a queue is full; then nothing was delivered.
    """
    station, run = ctx._station, ctx._run
    if run.done:
        raise run.ended_error(station.name)
    kind = KINDS.get(type(value)) or kind_of(value)
    if station.unwraps and kind is not MESSAGE and kind is not CHUNK:
        value = rewrap(ctx, value)
        kind = kind_of(value)
    if kind is not PLAIN:
        if kind is MESSAGE:
            value = adopt(ctx, value)
            kind = payload_kind(value)
        if kind is CHUNK and to is None:
            run.open_chunks().put_nowait(value)
            return None
    edges = station.edges if to is None else to
    events = station.runtime.events
    if events is not None:
        events.emitted(station, run, ctx, [edge.station.name for edge in edges])
    if not edges or (kind is FINAL and to is None):
        if not wait and run.emitted and not run.runtime.rookery.has_room(station.name):
            raise QueueFull(station.name, station.maxsize, run.trace_id)
        blocked = run.give(ctx, value)
        return None if blocked is None else [blocked]
    if not wait:
        _require_room(run, edges)
    index = ctx._sent
    ctx._sent = index + 1
    origin = (ctx._origin, station.name, index)
    if len(edges) == 1 and kind is not WORKING:
        # type(ctx) is Context, which imports this module.
        return send_along(edges[0], type(ctx)(run, edges[0].station, value, ctx._hop, origin))
    return _fan_out(ctx, value, kind, edges, origin)


def rewrap(ctx: Context, value: Payload) -> Payload:
    """Put what a node gave for the payload of a `Message` back into that message."""
    incoming = ctx._value
    if not ctx._station.unwraps or kind_of(incoming) is not MESSAGE or kind_of(value) in (MESSAGE, CHUNK):
        return value
    return incoming.model_copy(update={"payload": value})


def _fan_out(ctx: Context, value: Payload, kind: Kind, edges: Sequence[Edge], origin: Origin) -> list[Blocked] | None:
    run = ctx._run
    waiting: list[Blocked] = []
    # Branches must not see each other's changes to the metadata.
    fork = len(edges) > 1 and isinstance(value, Message) and bool(value.meta)
    for edge in edges:
        sent = value
        if edge.closing and kind is WORKING:
            # A reader of fetch() who is behind delays no loop: this one value may stand above its bound.
            sent = take_hop(run, ctx._station, value, run.give_at_once)
            if sent is None:
                continue
        elif fork:
            sent = value.model_copy(update={"meta": dict(value.meta)})
        waiting += send_along(edge, type(ctx)(run, edge.station, sent, ctx._hop, origin)) or ()
    return waiting or None


def send_along(edge: Edge, ctx: Context) -> list[Blocked] | None:
    """Put a message into the inbox that an edge leads to; returns what to wait for where that is full."""
    station = edge.station
    if not edge.cyclic:
        return None if station.offer(ctx) else [Blocked(station, ctx)]
    if edge.closing:
        ctx._hop += 1
        if ctx._hop % _COLLAPSE_EVERY == 0 and isinstance(ctx._origin, tuple):
            parent, source, index = ctx._origin
            ctx._origin = (collapse(ctx._run.trace_id, source, parent), source, index)
    station.push(ctx)
    return None


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
    if not edges:
        raise FlowDefinitionError(
            f"to=[] names no successor of {station.name!r}; name one, or emit nothing",
            node_name=station.name,
            trace_id=trace_id,
        )
    return edges


def _require_room(run: Run, edges: Sequence[Edge]) -> None:
    for edge in edges:
        if not edge.cyclic and not edge.station.has_room(run):
            raise QueueFull(edge.station.name, edge.station.maxsize, run.trace_id)


def is_adopted(ctx: Context, message: Message) -> bool:
    """Say whether a message belongs to the invocation's trace as it is, and holds nothing the runtime acts on."""
    run, incoming = ctx._run, ctx._value
    return (
        message.trace_id == run.trace_id
        and message.deadline_s == run.deadline_s
        and KINDS.get(type(message.payload)) is PLAIN
        and (
            message is incoming
            or (KINDS.get(type(incoming)) is MESSAGE and message.meta is incoming.meta)
            or _keeps_meta(ctx, message)
        )
    )


def _keeps_meta(ctx: Context, message: Message) -> bool:
    inherited = ctx.meta
    return message.meta is inherited or inherited.keys() <= message.meta.keys()


def adopt(ctx: Context, message: Message) -> Message:
    """Make a message that a node built belong to the invocation's trace; usually it does already."""
    run = ctx._run
    update: dict[str, object] = {}
    if message.trace_id != run.trace_id:
        update["trace_id"] = run.trace_id
    if not _keeps_meta(ctx, message):
        update["meta"] = {**ctx.meta, **message.meta}
    if message.deadline_s is not None:
        run.tighten_deadline(message.deadline_s)
    if message.deadline_s != run.deadline_s:
        update["deadline_s"] = run.deadline_s
    return message.model_copy(update=update) if update else message
