"""`pf cancel`: end traces from outside."""

from __future__ import annotations

from typing import Annotated

import typer

from penguiflow import TraceCancelled
from penguiflow.state import JournalStore, StateStore, TraceOutcome
from penguiflow_cli._exits import Exit, run_async
from penguiflow_cli._options import StateUrl
from penguiflow_cli._plugins import open_store
from penguiflow_cli._screen import complain
from penguiflow_cli._stores import able, opened

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(cancel)


def cancel(
    trace_ids: Annotated[list[str], typer.Argument(metavar="TRACE_ID...", help="Which traces.")],
    state: StateUrl = None,
) -> None:
    """Cancel traces, wherever they run.

    The processes that work on them stop within a second. Exit status 1 says that one had ended otherwise before, 3 that
    the store does not know one.
    """
    worst = max(run_async(_cancel_all(open_store(state), trace_ids)))
    if worst:
        raise typer.Exit(worst)


async def _cancel_all(store: StateStore, trace_ids: list[str]) -> list[Exit]:
    async with opened(store):
        journal = able(store, JournalStore, "end a trace")
        return [await _cancel(journal, trace_id) for trace_id in trace_ids]


async def _cancel(journal: JournalStore, trace_id: str) -> Exit:
    error = TraceCancelled(trace_id, "the trace was cancelled by pf cancel").to_payload()
    outcome = await journal.finish_trace(trace_id, TraceOutcome(state="cancelled", error=error))
    if outcome is None:
        complain(f"the store knows no trace {trace_id!r}")
        return Exit.NOT_FOUND
    if outcome.state != "cancelled":
        complain(f"trace {trace_id!r} had ended before: it is {outcome.state}")
        return Exit.FAILED
    typer.echo(f"{trace_id} cancelled")
    return Exit.OK
