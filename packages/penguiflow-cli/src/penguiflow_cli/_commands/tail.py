"""`pf tail`: what happens, as it happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from penguiflow.state import JournalStore, StateStore, StoredEvent, TraceListing, TraceState
from penguiflow_cli._exits import Exit, fail, run_async
from penguiflow_cli._options import AsJson, StateUrl, seconds
from penguiflow_cli._plugins import open_store
from penguiflow_cli._screen import console, details, show_json
from penguiflow_cli._stores import able, opened

__all__ = ["register"]

_FAILURES = frozenset({"node_error", "retry", "deadline_exceeded", "budget_exceeded", "remote_call_error"})
_KNOWN = frozenset({"node_name", "attempt", "queue_depth"})


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tail)


def tail(
    trace_id: Annotated[str | None, typer.Argument(help="Of which trace; of all, if left out.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Events of this kind only; may repeat.")
    ] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with what has happened before.")] = False,
    interval: Annotated[float, typer.Option(parser=seconds, metavar="TIME", help="How often to ask the store.")] = 0.2,
    state: StateUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show events as they are saved, until interrupted or, of one trace, until that has ended.

    Exit status 1 says that the trace failed or was cancelled.
    """
    ended = run_async(_follow(open_store(state), trace_id, set(kind or ()), from_start, interval, as_json))
    if ended in ("failed", "cancelled"):
        raise typer.Exit(Exit.FAILED)


async def _follow(
    store: StateStore, trace_id: str | None, kinds: set[str], from_start: bool, interval_s: float, as_json: bool
) -> TraceState | None:
    out = console()
    async with opened(store):
        listing = able(store, TraceListing, "follow events")
        if trace_id is not None and not await _is_known(store, trace_id):
            fail(Exit.NOT_FOUND, f"the store knows no trace {trace_id!r}")
        async for events, ended in _pages(store, listing, trace_id, 0 if from_start else -1, interval_s):
            for event in events:
                if not kinds or event["kind"] in kinds:
                    _show(event, out, as_json)
            if ended is not None:
                return ended
    return None


async def _is_known(store: StateStore, trace_id: str) -> bool:
    if isinstance(store, JournalStore) and await store.load_trace(trace_id) is not None:
        return True
    return bool(await store.load_history(trace_id))


async def _pages(
    store: StateStore, listing: TraceListing, trace_id: str | None, after: int, interval_s: float
) -> AsyncIterator[tuple[list[StoredEvent], TraceState | None]]:
    """Give the events that are new, and at last how their trace ended, where one is followed and the store knows."""
    events, cursor = await listing.load_events(after=after)
    while True:
        # Asked before the events are, so that what was saved before the end is told.
        ended = await _end_of(store, trace_id)
        while events:
            yield [event for event in events if trace_id in (None, event["trace_id"])], None
            events, cursor = await listing.load_events(after=cursor)
        events, cursor = await listing.load_events(after=cursor)
        if ended is not None and not events:
            yield [], ended
        if not events:
            await asyncio.sleep(interval_s)


async def _end_of(store: StateStore, trace_id: str | None) -> TraceState | None:
    if trace_id is None or not isinstance(store, JournalStore):
        return None
    _, state = (await store.load_states([trace_id])).get(trace_id, (0, "running"))
    return None if state == "running" else state


def _show(event: StoredEvent, out: Console, as_json: bool) -> None:
    if as_json:
        show_json(event)
        return
    data = event["data"]
    when = time.strftime("%H:%M:%S", time.localtime(event["ts"])) + f".{int(event['ts'] % 1 * 1000):03d}"
    attempt = data.get("attempt") or None
    rest = details({"attempt": attempt, **{name: value for name, value in data.items() if name not in _KNOWN}})
    line = Text(f"{when} ", style="dim")
    line.append(f"{event['trace_id']} ", style="cyan")
    line.append(f"{event['kind']} ", style="red" if event["kind"] in _FAILURES else "bold")
    line.append(" ".join(part for part in (data.get("node_name") or "", rest) if part))
    out.print(line, soft_wrap=True)
