"""`pf resume`: go on with a trace whose process died."""

from __future__ import annotations

from typing import Annotated

import typer

from penguiflow_cli._commands.run import show_trace
from penguiflow_cli._exits import Exit, run_async
from penguiflow_cli._flows import Target, load_flow
from penguiflow_cli._options import AsJson, BusUrl, StateUrl
from penguiflow_cli._plugins import open_bus, open_store
from penguiflow_cli._stores import opened

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(resume)


def resume(
    target: Annotated[str, typer.Argument(metavar="MODULE:FLOW", help="The flow that the trace was begun with.")],
    trace_id: Annotated[str, typer.Argument(help="Which trace.")],
    force: Annotated[
        bool, typer.Option("--force", help="Take it over from a process that may still be alive, at once.")
    ] = False,
    state: StateUrl = None,
    bus: BusUrl = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a trace from what is recorded of it, in this process, and write what it gives.

    Nodes whose step is recorded do not run again. A trace that has ended is shown as it ended. Exit status 1 says that
    it failed, 3 that the store does not know it.
    """
    status = run_async(_resume(load_flow(target), trace_id, force, state, bus, as_json))
    if status:
        raise typer.Exit(status)


async def _resume(
    target: Target, trace_id: str, force: bool, state: str | None, bus: str | None, as_json: bool
) -> Exit:
    store = open_store(state)
    message_bus = open_bus(bus) if bus else None
    flow = target.flow
    # Others are left alone: who asks for one trace wants that one.
    running = flow.run(target.registry, state_store=store, message_bus=message_bus, resume=False)
    async with opened(store, message_bus), running:
        return await show_trace(await flow.resume(trace_id, force=force), as_json)
