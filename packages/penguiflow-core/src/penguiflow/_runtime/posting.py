"""Sends what an invocation has come to, once that is recorded."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from penguiflow._runtime.blocking import Blocked
from penguiflow._runtime.context import Context
from penguiflow._runtime.delivery import send_along, wait_for_room
from penguiflow._runtime.outbox import Outbox, Sent
from penguiflow._runtime.unit import Unit

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run
    from penguiflow._runtime.station import Station

__all__ = ["journaled", "post"]


def journaled(station: Station) -> Any:
    """Return a node function that runs the station's own under the journal of its trace, where it has one."""
    func = station.node.func

    async def run(value: Any, ctx: Context) -> Any:
        unit = ctx._run.unit
        return await unit.handle(ctx, value) if isinstance(unit, Unit) else await func(value, ctx)

    return run


def post(outbox: Outbox, ctx: Context) -> Coroutine[Any, Any, None] | None:
    """Hand everything over that has room; returns what has to be awaited for the rest.

    Raises:
        FlowError: `QUEUE_OVERFLOW`, a cap of the trace is reached.
    """
    run = ctx._run
    unit = run.unit
    events = run.runtime.events
    if events is not None:
        for targets in outbox.targets:
            events.emitted(ctx._station, run, ctx, targets)
    if isinstance(unit, Unit) and unit.whole:
        for exit_name, value in outbox.values:
            run.give_named(exit_name, value)
    blocked: list[Blocked] = []
    far: list[Sent] = []
    for sent in outbox.messages:
        if sent.edge.station.far:
            far.append(sent)
        else:
            blocked += send_along(sent.edge, _context(run, ctx, sent)) or ()
    if not (blocked or far):
        return None
    return _see_off(ctx, blocked, far)


def _context(run: Run, ctx: Context, sent: Sent) -> Context:
    return Context(run, sent.edge.station, sent.value, ctx._hop, (ctx._origin, ctx._station.name, sent.index))


async def _see_off(ctx: Context, blocked: list[Blocked], far: list[Sent]) -> None:
    unit = ctx._run.unit
    if far and isinstance(unit, Unit):
        await unit.journal.send_far(unit, ctx, far)
    await wait_for_room(ctx._station, blocked)
