"""`pf traces`: which traces there are."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from penguiflow.state import StateStore, TraceListing, TraceRecord, TraceState
from penguiflow_cli._exits import run_async
from penguiflow_cli._look import record_as_json
from penguiflow_cli._options import AsJson, FlowName, StateUrl, seconds
from penguiflow_cli._plugins import open_store
from penguiflow_cli._screen import ago, duration, show_json, show_table, styled
from penguiflow_cli._stores import able, opened

__all__ = ["Status", "register"]


class Status(StrEnum):
    """The states of traces, as a choice of the command line."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_PAGE = 100


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(traces)


def traces(
    status: Annotated[Status | None, typer.Option(help="Of this state only.")] = None,
    flow: FlowName = None,
    older_than: Annotated[
        float | None, typer.Option(parser=seconds, metavar="TIME", help="Begun longer ago than: 90s, 10m, 2h, 3d.")
    ] = None,
    newer_than: Annotated[float | None, typer.Option(parser=seconds, metavar="TIME", help="Begun since then.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the latest first.")] = 50,
    state: StateUrl = None,
    as_json: AsJson = False,
) -> None:
    """List traces, the latest first."""
    chosen: TraceState | None = None if status is None else status.value
    records = run_async(_load(open_store(state), chosen, flow, older_than, newer_than, limit))
    if as_json:
        for record in records:
            show_json(record_as_json(record))
        return
    now = time.time()
    rows = [_row(record, now) for record in records]
    show_table(["trace", "flow", "state", "began", "took", "steps", "pending", "error"], rows)


async def _load(
    store: StateStore,
    status: TraceState | None,
    flow: str | None,
    older_than_s: float | None,
    newer_than_s: float | None,
    limit: int,
) -> list[TraceRecord]:
    async with opened(store):
        listing = able(store, TraceListing, "list traces")
        records: list[TraceRecord] = []
        while len(records) < limit:
            page = await listing.list_traces(
                state=status,
                flow=flow,
                older_than_s=older_than_s,
                newer_than_s=newer_than_s,
                limit=min(_PAGE, limit - len(records)),
                after=records[-1].start.trace_id if records else None,
            )
            if not page:
                break
            records.extend(page)
        return records


def _row(record: TraceRecord, now: float) -> list[str | Text]:
    took = (now if record.ended_s is None else record.ended_s) - record.opened_s
    error = record.outcome.error or {}
    return [
        record.start.trace_id,
        record.start.flow,
        styled(record.outcome.state),
        ago(record.opened_s, now),
        duration(took),
        str(record.steps),
        str(record.pending) if record.ended_s is None else "",
        str(error.get("code") or ""),
    ]
