"""`pf run`: one message through a flow."""

from __future__ import annotations

import json
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import typer

from penguiflow import Message, Trace, client_events
from penguiflow.bus import MessageBus
from penguiflow.sinks import ClientEvent
from penguiflow.state import StateStore
from penguiflow.types import Payload
from penguiflow_cli._exits import Exit, run_async, usage
from penguiflow_cli._flows import Target, load_flow
from penguiflow_cli._options import AsJson, BusUrl, StateUrl, seconds
from penguiflow_cli._plugins import open_bus, open_store
from penguiflow_cli._screen import complain, show_json
from penguiflow_cli._stores import opened

__all__ = ["register", "show_trace"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(
    target: Annotated[str, typer.Argument(metavar="MODULE:FLOW", help="Which flow.")],
    payload: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON", help="The message; @path reads a file, - stdin.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", "-t", help="The message, as plain text.")] = None,
    trace_id: Annotated[str | None, typer.Option(help="The id of the trace; a fresh one, if left out.")] = None,
    deadline: Annotated[
        float | None, typer.Option(parser=seconds, metavar="TIME", help="How long the trace may take: 90s, 10m.")
    ] = None,
    on_workers: Annotated[
        bool, typer.Option("--on-workers", help="Run no node here: leave them to workers that share bus and store.")
    ] = False,
    state: StateUrl = None,
    bus: BusUrl = None,
    as_json: AsJson = False,
) -> None:
    """Run a flow on one message: chunks are written as they come, then its values as JSON.

    With --trace-id or --deadline the message is a Message around the input. Exit status 1 says that the trace failed,
    as the standard error then tells.
    """
    message = _message(payload, text, trace_id, deadline)
    loaded = load_flow(target)
    if on_workers:
        running = _run(loaded, message, open_store(state), open_bus(bus), as_json)
    else:
        running = _run(loaded, message, open_store(state) if state else None, None, as_json)
    status = run_async(running)
    if status:
        raise typer.Exit(status)


def _message(payload: str | None, text: str | None, trace_id: str | None, deadline_s: float | None) -> Payload:
    """Return the payload as it is or, where it has an id or a deadline, in a `Message`."""
    if (payload is None) == (text is None):
        usage("give the message by --input JSON, or by --text TEXT")
    value = text if payload is None else _read(payload)
    options: dict[str, Any] = {} if trace_id is None else {"trace_id": trace_id}
    if deadline_s is not None:
        options["deadline_s"] = time.time() + deadline_s
    return Message(payload=value, **options) if options else value


def _read(payload: str) -> Any:
    if payload == "-":
        payload = sys.stdin.read()
    elif payload.startswith("@"):
        try:
            payload = Path(payload[1:]).read_text(encoding="utf-8")
        except OSError as error:
            usage(f"the input {payload[1:]!r} cannot be read: {error}")
    try:
        return json.loads(payload)
    except ValueError as error:
        usage(f"the input is no JSON: {error}; give plain text by --text")


async def _run(
    target: Target, message: Payload, store: StateStore | None, bus: MessageBus | None, as_json: bool
) -> Exit:
    flow, nodes = target.flow, None if bus is None else ()
    # Whoever runs one message has no mind to take up what other processes have left.
    running = flow.run(target.registry, nodes=nodes, state_store=store, message_bus=bus, resume=False)
    async with opened(store, bus), running, await flow.submit(message) as trace:
        return await show_trace(trace, as_json)


async def show_trace(trace: Trace, as_json: bool) -> Exit:
    """Write what a trace gives as it comes, and return how it ended."""
    streamed = ""
    async with aclosing(client_events(trace, show_exceptions=True)) as events:
        async for event in events:
            if as_json:
                show_json({event.event: event.data, "trace_id": trace.trace_id})
            elif event.event == "chunk":
                streamed = str(event.data.get("text") or streamed)
                typer.echo(event.data.get("text"), nl=False)
            else:
                _show_end(trace, event, streamed)
            if event.event == "error":
                return Exit.FAILED
    return Exit.OK


def _show_end(trace: Trace, event: ClientEvent, streamed: str) -> None:
    if streamed and not streamed.endswith("\n"):
        typer.echo()
    if event.event == "error":
        where = f" (node {event.data['node_name']})" if event.data.get("node_name") else ""
        complain(f"trace {trace.trace_id} failed: {event.data.get('code')}: {event.data.get('message')}{where}")
        return
    for result in event.data["results"]:
        show_json(result["value"])
