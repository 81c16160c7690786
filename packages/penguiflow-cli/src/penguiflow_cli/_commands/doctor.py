"""`pf doctor`: what is stuck, and why."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.text import Text

from penguiflow.bus import DeadLetter, DeadLetters, MessageBus
from penguiflow.state import JournalStore, StateStore, TraceListing, TraceRecord
from penguiflow_cli._diagnosis import Finding, Suspect, diagnose, of_letters, trace_of
from penguiflow_cli._exits import Exit, run_async
from penguiflow_cli._options import AsJson, BusUrl, FlowName, StateUrl, seconds
from penguiflow_cli._plugins import open_bus, open_store
from penguiflow_cli._screen import show_json, show_table, styled
from penguiflow_cli._stores import able, answered, opened

__all__ = ["register"]

_PAGE = 200


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    flow: FlowName = None,
    quiet: Annotated[
        float,
        typer.Option(parser=seconds, metavar="TIME", help="How long nothing may happen in a trace: 90s, 10m, 2h."),
    ] = 60.0,
    limit: Annotated[int, typer.Option(min=1, help="How many running traces to look at.")] = 10_000,
    state: StateUrl = None,
    bus: BusUrl = None,
    as_json: AsJson = False,
) -> None:
    """Tell what is stuck and why: lapsed leases, messages that nobody takes, dead letters, passed deadlines, joins.

    Looks at running traces and, where a bus is named, at its dead letters. Exit status 1 says that something is stuck.
    """
    findings = run_async(_examine(open_store(state), open_bus(bus) if bus else None, flow, quiet, limit))
    for finding in findings if as_json else ():
        show_json(finding.as_json())
    if not as_json:
        _show(findings)
    if any(finding.severity == "stuck" for finding in findings):
        raise typer.Exit(Exit.FAILED)


def _show(findings: list[Finding]) -> None:
    if not findings:
        typer.echo("nothing is stuck")
        return
    rows: list[list[str | Text]] = [
        [styled(finding.severity), finding.subject, finding.code, finding.problem, finding.advice]
        for finding in findings
    ]
    show_table(["", "trace or queue", "code", "what", "what to do"], rows)


async def _examine(
    store: StateStore, bus: MessageBus | None, flow: str | None, quiet_s: float, limit: int
) -> list[Finding]:
    async with opened(store, *([bus] if bus else [])):
        journal = able(store, JournalStore, "tell how traces stand")
        letters = await _letters(bus, limit) if bus else []
        by_trace: dict[str, list[DeadLetter]] = {}
        findings: list[Finding] = []
        for record in await _running(able(store, TraceListing, "list traces"), flow, limit):
            trace_id = record.start.trace_id
            mine = [letter for letter in letters if trace_of(letter.message) == trace_id]
            by_trace[trace_id] = mine
            events, joins = await store.load_history(trace_id), await journal.unfilled_joins(trace_id)
            findings += diagnose(Suspect(record, events, joins, mine), time.time(), quiet_s)
        return findings + (of_letters(letters, by_trace) if flow is None else [])


async def _letters(bus: MessageBus, limit: int) -> list[DeadLetter]:
    return await answered(able(bus, DeadLetters, "list dead letters").list_dead(limit=limit))


async def _running(listing: TraceListing, flow: str | None, limit: int) -> list[TraceRecord]:
    records: list[TraceRecord] = []
    while len(records) < limit:
        after = records[-1].start.trace_id if records else None
        page = await listing.list_traces(
            state="running", flow=flow, limit=min(_PAGE, limit - len(records)), after=after
        )
        if not page:
            break
        records += page
    return records
