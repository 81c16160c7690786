"""Lets a message from outside into a flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penguiflow._runtime.blocking import Blocked
from penguiflow._runtime.context import Context
from penguiflow._runtime.origin import OUTSIDE
from penguiflow._runtime.station import Station
from penguiflow.errors import QueueFull, TraceCancelled
from penguiflow.types import Message, Payload

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run

__all__ = ["admit", "admit_at", "admit_nowait", "admitted", "require_open"]


async def admit(run: Run, value: Payload, entries: Sequence[Station]) -> None:
    """Put a message into the inbox of every entry, waiting in order of arrival where one is full.

    Cancelled while waiting, a submitted run is cancelled as a whole: nobody has a handle to it yet. Of an emitted
    one, which may have other messages at work, only this message is taken back.
    """
    waiting = admit_nowait(run, value, entries)
    if waiting:
        await admitted(run, waiting)


async def admitted(run: Run, waiting: list[Blocked]) -> None:
    """Wait until a message is in everywhere, or its run has ended; see `admit`."""
    try:
        for blocked in waiting:
            await blocked.future
    except BaseException:
        if not run.emitted:
            run.fail(TraceCancelled(run.trace_id, "the submission was cancelled while it waited for admission"))
        raise
    finally:
        for blocked in waiting:
            blocked.withdraw()


def admit_nowait(run: Run, value: Payload, entries: Sequence[Station]) -> list[Blocked]:
    """Put a message into the inbox of every entry that has room; returns the places in line at the others."""
    events = run.runtime.events
    if events is not None:
        events.post("emit", run, source=OUTSIDE, targets=[station.name for station in entries])
    origin = (None, OUTSIDE, run.admitted)
    run.admitted += 1
    waiting: list[Blocked] = []
    if len(entries) == 1:
        _enter(entries[0], Context(run, entries[0], value, 0, origin), waiting)
        return waiting
    fork = isinstance(value, Message) and bool(value.meta)
    for station in entries:
        # Branches must not see each other's changes to the metadata.
        own = value.model_copy(update={"meta": dict(value.meta)}) if fork else value
        _enter(station, Context(run, station, own, 0, origin), waiting)
    return waiting


def admit_at(station: Station, ctx: Context) -> list[Blocked]:
    """Put a message that came by the bus into an inbox, or in line where that is full."""
    waiting: list[Blocked] = []
    _enter(station, ctx, waiting)
    return waiting


def _enter(station: Station, ctx: Context, waiting: list[Blocked]) -> None:
    gate = station.gate
    if gate.blocked or station.queued >= station.maxsize or not station.offer(ctx):
        waiting.append(Blocked(gate, ctx))


def require_open(entries: Sequence[Station], trace_id: str | None) -> None:
    """Check that a message would be let in at once.

    Raises:
        QueueFull: one of the entries is full.
    """
    for station in entries:
        if not station.gate.open:
            raise QueueFull(station.name, station.maxsize, trace_id)
