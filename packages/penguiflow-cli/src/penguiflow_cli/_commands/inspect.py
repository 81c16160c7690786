"""`pf inspect`: the history of a trace."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.text import Text

from penguiflow.state import StateStore
from penguiflow_cli._exits import Exit, fail, run_async
from penguiflow_cli._look import Look, look_at
from penguiflow_cli._options import AsJson, StateUrl
from penguiflow_cli._plugins import open_store
from penguiflow_cli._screen import ago, clock, console, duration, show_json, show_table, styled
from penguiflow_cli._stores import opened
from penguiflow_cli._timeline import Entry, timeline

__all__ = ["register"]

_BAR_WIDTH = 20
_FAILURES = frozenset({"failed", "cancelled"})


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(inspect)


def inspect(
    trace_id: Annotated[str, typer.Argument(help="Which trace.")],
    state: StateUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the history of a trace: nodes, attempts, timings, chunks, errors, remote tasks.

    Exit status 1 says that the trace failed or was cancelled, 3 that the store does not know it.
    """
    look = run_async(_look(open_store(state), trace_id))
    if not look.is_known:
        fail(Exit.NOT_FOUND, f"the store knows no trace {trace_id!r}; `pf traces` lists those it has")
    if as_json:
        show_json(look.as_json())
    else:
        _show_summary(look)
        _show_timeline(timeline(look.events))
    if look.state in _FAILURES:
        raise typer.Exit(Exit.FAILED)


async def _look(store: StateStore, trace_id: str) -> Look:
    async with opened(store):
        return await look_at(store, trace_id)


def _show_summary(look: Look) -> None:
    out = console()
    for name, value in _summary(look, time.time()):
        out.print(Text.assemble((f"{name:<10}", "bold"), value), soft_wrap=True)
    out.print()


def _summary(look: Look, now: float) -> list[tuple[str, Text]]:
    lines = [("trace", Text(look.trace_id)), ("state", styled(look.state))]
    record = look.record
    if record is not None:
        lines.append(("flow", Text(f"{record.start.flow}, version {record.start.version}")))
        ended = now if record.ended_s is None else record.ended_s
        began = f"{clock(record.opened_s)}, {ago(record.opened_s, now)}; took {duration(ended - record.opened_s)}"
        lines.append(("began", Text(began if record.ended_s is not None else began.replace("took", "running for"))))
        if record.generation > 1:
            lines.append(("run", Text(f"number {record.generation} of this id")))
        if record.ended_s is None:
            lines.append(("pending", Text(f"{record.pending} messages outstanding, {record.steps} steps recorded")))
        if record.outcome.error:
            error = record.outcome.error
            where = f" (node {error['node_name']})" if error.get("node_name") else ""
            lines.append(("error", Text(f"{error.get('code')}: {error.get('message')}{where}", style="red")))
    return lines + _attachments(look)


def _attachments(look: Look) -> list[tuple[str, Text]]:
    lines: list[tuple[str, Text]] = []
    for holder in look.record.holders if look.record is not None else ():
        left = f"for {duration(holder.remaining_s)} more" if holder.remaining_s > 0 else "lapsed"
        lines.append(("held by", Text(f"{holder.owner}, {left}")))
    lines += [("join", Text(f"{join.join} has {join.have} of {join.need} parts")) for join in look.joins]
    for binding in look.bindings:
        context = f", context {binding['context_id']}" if binding["context_id"] else ""
        lines.append(("remote", Text(f"task {binding['task_id']}{context} at {binding['agent_url']}")))
    return lines


def _show_timeline(entries: list[Entry]) -> None:
    if not entries:
        return
    began = min(entry.ts for entry in entries)
    total = max(entry.ts + (entry.took_s or 0.0) for entry in entries) - began
    draws = console().is_terminal
    columns = ["at", "node", "what", "attempt", "took", *(["when"] if draws else []), "detail"]
    rows = [_row(entry, began, total, draws=draws) for entry in entries]
    show_table(columns, rows)


def _row(entry: Entry, began: float, total: float, *, draws: bool) -> list[str | Text]:
    took = "running" if entry.outcome == "running" else duration(entry.took_s)
    style = {"failed": "red", "running": "cyan"}.get(entry.outcome, "")
    what = entry.what if entry.outcome != "failed" else f"{entry.what} failed"
    bar: list[str | Text] = [Text(_bar(entry, began, total), style=style or "green")] if draws else []
    return [
        f"+{duration(entry.ts - began)}",
        entry.node,
        Text(what, style=style),
        str(entry.attempt) if entry.attempt else "",
        Text(took, style=style),
        *bar,
        entry.detail,
    ]


def _bar(entry: Entry, began: float, total: float) -> str:
    """Draw where in the trace an entry lies, and how long it is."""
    if total <= 0:
        return ""
    first = int((entry.ts - began) / total * (_BAR_WIDTH - 1))
    length = max(1, round((entry.took_s or 0.0) / total * _BAR_WIDTH))
    sign = "█" if entry.took_s else "▏"
    return " " * first + sign * min(length, _BAR_WIDTH - first)
