"""Every read, in SQL that both databases understand; `{now}` stands for the time of the database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from penguiflow import TraceUnknown
from penguiflow.state import (
    LeaseHolder,
    RemoteBinding,
    Step,
    StoredEvent,
    TraceOutcome,
    TraceRecord,
    TraceState,
    UnfilledJoin,
)
from penguiflow_state._encoding import decode, merge_values, references, resolve, to_start, to_step

__all__ = [
    "Rows",
    "blobs",
    "events",
    "history",
    "old_histories",
    "record",
    "records",
    "remote_bindings",
    "resolved",
    "states",
    "steps",
    "unfilled",
    "unfinished",
]

Rows: TypeAlias = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]
"""Runs a query and returns its rows; all of one read see the same state of the database."""

_BLOBS_AT_ONCE = 500

_RECORD = """
    SELECT t.trace_id, t.generation, t.flow, t.version, t.start, t.state, t.error, t.pending, t.steps, t.opened_s,
        t.ended_s, t.key, u.owner, u.released, u.done, u.expires_s - {now} AS remaining_s
    FROM traces t LEFT JOIN units u ON u.trace = t.key AND u.unit = ''
"""


def blobs(rows: Rows, wanted: Collection[str]) -> dict[str, str]:
    """Return the texts that references stand for."""
    found: dict[str, str] = {}
    listed = sorted(set(wanted))
    for begin in range(0, len(listed), _BLOBS_AT_ONCE):
        names = {f"d{number}": digest for number, digest in enumerate(listed[begin : begin + _BLOBS_AT_ONCE])}
        places = ", ".join(f":{name}" for name in names)
        for row in rows(f"SELECT digest, text FROM blobs WHERE digest IN ({places})", names):
            found[row["digest"]] = row["text"]
    return found


def resolved(rows: Rows, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows or answers with their blobs in place."""
    wanted = set(references(found))
    if not wanted:
        return found
    texts = blobs(rows, wanted)
    return [resolve(row, texts) for row in found]


def history(rows: Rows, trace_id: str) -> list[StoredEvent]:
    """Return the events of a trace."""
    sql = "SELECT trace_id, ts, kind, data FROM events WHERE trace_id = :trace_id ORDER BY id"
    return events(rows, rows(sql, {"trace_id": trace_id}))


def events(rows: Rows, found: list[dict[str, Any]]) -> list[StoredEvent]:
    """Return rows of events as a store gives them."""
    return [
        StoredEvent(trace_id=row["trace_id"], ts=row["ts"], kind=row["kind"], data=decode(row["data"]))
        for row in resolved(rows, found)
    ]


def remote_bindings(rows: Rows, trace_id: str) -> list[RemoteBinding]:
    """Return the remote tasks of a trace."""
    sql = "SELECT context_id, task_id, agent_url FROM bindings WHERE trace_id = :trace_id ORDER BY id"
    return [
        RemoteBinding(context_id=row["context_id"], task_id=row["task_id"], agent_url=row["agent_url"])
        for row in rows(sql, {"trace_id": trace_id})
    ]


def record(rows: Rows, trace_id: str) -> TraceRecord | None:
    """Return what is known of a trace, with its values."""
    found = resolved(rows, rows(f"{_RECORD} WHERE t.trace_id = :trace_id", {"trace_id": trace_id}))
    if not found:
        return None
    sql = "SELECT vals FROM steps WHERE trace = :key AND vals IS NOT NULL ORDER BY id"
    values = resolved(rows, rows(sql, {"key": found[0]["key"]}))
    return _to_record(found[0], [row["vals"] for row in values])


def records(
    rows: Rows,
    *,
    state: TraceState | None,
    flow: str | None,
    older_than_s: float | None,
    newer_than_s: float | None,
    limit: int,
    after: str | None,
) -> list[TraceRecord]:
    """Return traces, the latest first, without their values."""
    conditions = ["1 = 1"]
    values: dict[str, Any] = {"limit": limit}
    if after is not None:
        last = rows("SELECT opening FROM traces WHERE trace_id = :after", {"after": after})
        if not last:
            raise TraceUnknown(after)
        conditions.append("t.opening < :opening")
        values["opening"] = last[0]["opening"]
    for condition, name, value in (
        ("t.state = :state", "state", state),
        ("t.flow = :flow", "flow", flow),
        ("t.opened_s <= {now} - :older_s", "older_s", older_than_s),
        ("t.opened_s >= {now} - :newer_s", "newer_s", newer_than_s),
    ):
        if value is not None:
            conditions.append(condition)
            values[name] = value
    sql = f"{_RECORD} WHERE {' AND '.join(conditions)} ORDER BY t.opening DESC LIMIT :limit"
    return [_to_record(row, []) for row in resolved(rows, rows(sql, values))]


def unfinished(rows: Rows, flow: str, *, owner: str, host: str, limit: int) -> list[LeaseHolder]:
    """Return running traces that may have lost their owner, the oldest first."""
    sql = """
        SELECT t.trace_id, t.generation, u.owner, u.released, u.expires_s - {now} AS remaining_s
        FROM traces t JOIN units u ON u.trace = t.key AND u.unit = ''
        WHERE t.flow = :flow AND t.state = 'running' AND u.done = 0
            AND (u.released = 1 OR (u.owner <> :owner
                AND (u.expires_s <= {now} OR substr(u.owner, 1, length(:host)) = :host)))
        ORDER BY t.opening LIMIT :limit
    """
    found = rows(sql, {"flow": flow, "owner": owner, "host": host, "limit": limit})
    return [_to_holder(row) for row in found]


def unfilled(rows: Rows, trace_id: str) -> list[UnfilledJoin]:
    """Return the joins of a trace that have parts and have not fired."""
    sql = """
        SELECT j.name, j.turn, j.have, j.need FROM joins j JOIN traces t ON t.key = j.trace
        WHERE t.trace_id = :trace_id AND j.fired = 0 ORDER BY j.turn, j.name
    """
    return [
        UnfilledJoin(row["name"], row["turn"], row["have"], row["need"]) for row in rows(sql, {"trace_id": trace_id})
    ]


def steps(rows: Rows, trace_id: str) -> list[Step]:
    """Return the recorded steps of a trace."""
    sql = """
        SELECT s.message_id, s.node_name, s.outputs, s.produced, s.consumed, s.vals
        FROM steps s JOIN traces t ON t.key = s.trace WHERE t.trace_id = :trace_id ORDER BY s.id
    """
    return [to_step(row) for row in resolved(rows, rows(sql, {"trace_id": trace_id}))]


def states(rows: Rows, trace_ids: Collection[str]) -> dict[str, tuple[int, TraceState]]:
    """Return how traces stand."""
    found: dict[str, tuple[int, TraceState]] = {}
    listed = sorted(set(trace_ids))
    for begin in range(0, len(listed), _BLOBS_AT_ONCE):
        names = {f"t{number}": trace_id for number, trace_id in enumerate(listed[begin : begin + _BLOBS_AT_ONCE])}
        places = ", ".join(f":{name}" for name in names)
        sql = f"SELECT trace_id, generation, state FROM traces WHERE trace_id IN ({places})"
        found.update((row["trace_id"], (row["generation"], row["state"])) for row in rows(sql, names))
    return found


def old_histories(rows: Rows, before_s: float) -> list[str]:
    """Return ids under which there is only history, last written to before a time."""
    sql = """
        SELECT w.trace_id FROM (
            SELECT trace_id, saved_s FROM events UNION ALL SELECT trace_id, saved_s FROM bindings
        ) w
        WHERE NOT EXISTS (SELECT 1 FROM traces t WHERE t.trace_id = w.trace_id)
        GROUP BY w.trace_id HAVING max(w.saved_s) <= :before_s
    """
    return [row["trace_id"] for row in rows(sql, {"before_s": before_s})]


def _to_record(row: Mapping[str, Any], values: Collection[str]) -> TraceRecord:
    is_held = row["state"] == "running" and row["owner"] is not None and not row["done"]
    return TraceRecord(
        start=to_start(row["trace_id"], row["flow"], row["version"], row["start"]),
        generation=row["generation"],
        outcome=TraceOutcome(state=row["state"], error=decode(row["error"]), values=merge_values(values)),
        pending=row["pending"],
        opened_s=row["opened_s"],
        ended_s=row["ended_s"],
        steps=row["steps"],
        holders=(_to_holder(row),) if is_held else (),
    )


def _to_holder(row: Mapping[str, Any]) -> LeaseHolder:
    remaining_s = 0.0 if row["released"] else max(0.0, row["remaining_s"])
    return LeaseHolder(row["trace_id"], row["generation"], row["owner"], remaining_s)
