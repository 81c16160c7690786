"""Each kind of write on SQLite: it looks first, and changes nothing before it knows that it may."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from penguiflow_state._requests import Answer, Request

__all__ = ["WRITES"]

_Fields = dict[str, Any]


class _Standing(NamedTuple):
    key: int
    generation: int
    state: str
    pending: int
    epoch: int | None
    released: int | None


def _refusal(db: sqlite3.Connection, request: Request) -> tuple[_Standing | None, Answer]:
    """Return the trace where the lease of the request holds, else why it may not write."""
    fields = request.fields
    row = db.execute(
        "SELECT t.key, t.generation, t.state, t.pending, u.epoch, u.released FROM traces t"
        " LEFT JOIN units u ON u.trace = t.key AND u.unit = ? WHERE t.trace_id = ?",
        (fields["unit"], request.trace_id),
    ).fetchone()
    if row is None or row[1] != fields["generation"]:
        return None, {"refused": "lost"}
    if row[2] != "running":
        return None, {"refused": "over", "state": row[2]}
    if row[4] != fields["epoch"]:
        return None, {"refused": "lost"}
    return _Standing(*row), {}


def _nothing(db: sqlite3.Connection, request: Request) -> Answer:
    return {}


def _save_binding(db: sqlite3.Connection, request: Request) -> Answer:
    fields = request.fields
    values = (request.trace_id, fields["context_id"], fields["task_id"], fields["agent_url"], time.time())
    db.execute("INSERT INTO bindings VALUES (NULL, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", values)
    return {}


def _open_trace(db: sqlite3.Connection, request: Request) -> Answer:
    fields, now = request.fields, time.time()
    earlier = db.execute("SELECT key, generation, state FROM traces WHERE trace_id = ?", (request.trace_id,)).fetchone()
    if earlier is not None and earlier[2] == "running":
        return {"refused": "active"}
    generation = 1
    if earlier is not None:
        generation = earlier[1] + 1
        _forget_journal(db, earlier[0])
    key = db.execute(
        "INSERT INTO traces (trace_id, generation, opening, flow, version, start, state, pending, opened_s)"
        " VALUES (?, ?, (SELECT coalesce(max(opening), 0) + 1 FROM traces), ?, ?, ?, 'running', ?, ?)",
        (
            request.trace_id,
            generation,
            fields["flow"],
            fields["version"],
            fields["start"],
            fields["pending"],
            now,
        ),
    ).lastrowid
    db.execute(
        "INSERT INTO units (trace, unit, owner, epoch, expires_s) VALUES (?, '', ?, 1, ?)",
        (key, fields["owner"], now + fields["lease_s"]),
    )
    return {"generation": generation, "epoch": 1}


def _forget_journal(db: sqlite3.Connection, key: int) -> None:
    for table in ("units", "started", "steps", "joins", "join_parts", "reopened"):
        db.execute(f"DELETE FROM {table} WHERE trace = ?", (key,))
    db.execute("DELETE FROM traces WHERE key = ?", (key,))


def _claim(db: sqlite3.Connection, request: Request) -> Answer:
    fields, now = request.fields, time.time()
    row = db.execute(
        "SELECT t.key, t.generation, t.state, u.owner, u.epoch, u.expires_s, u.released, u.done FROM traces t"
        " LEFT JOIN units u ON u.trace = t.key AND u.unit = ? WHERE t.trace_id = ?",
        (fields["unit"], request.trace_id),
    ).fetchone()
    if row is None or fields["generation"] not in (None, row[1]):
        return {"state": None}
    key, generation, state, owner, epoch, expires_s, released, done = row
    if state != "running":
        return {"state": state}
    if done:
        return {"state": state, "finished": True}
    if not (epoch is None or fields["force"] or owner == fields["owner"] or released or expires_s <= now):
        return {"state": state, "holder": owner, "remaining_s": expires_s - now}
    epoch = (epoch or 0) + 1
    db.execute(
        "INSERT INTO units (trace, unit, owner, epoch, expires_s) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET owner = excluded.owner, epoch = excluded.epoch, expires_s = excluded.expires_s, released = 0",
        (key, fields["unit"], fields["owner"], epoch, now + fields["lease_s"]),
    )
    return {
        "state": state,
        "generation": generation,
        "epoch": epoch,
        "holder": fields["owner"],
        "remaining_s": fields["lease_s"],
    }


def _extend(db: sqlite3.Connection, request: Request) -> Answer:
    fields = request.fields
    kept = db.execute(
        "UPDATE units SET expires_s = ? WHERE unit = ? AND epoch = ? AND released = 0"
        " AND trace = (SELECT key FROM traces WHERE trace_id = ? AND generation = ?)",
        (time.time() + fields["lease_s"], fields["unit"], fields["epoch"], request.trace_id, fields["generation"]),
    ).rowcount
    return {"kept": kept == 1}


def _release(db: sqlite3.Connection, request: Request) -> Answer:
    fields = request.fields
    db.execute(
        "UPDATE units SET released = 1, done = max(done, ?) WHERE unit = ? AND epoch = ?"
        " AND trace = (SELECT key FROM traces WHERE trace_id = ? AND generation = ?)",
        (int(fields["done"]), fields["unit"], fields["epoch"], request.trace_id, fields["generation"]),
    )
    return {}


def _mark_started(db: sqlite3.Connection, request: Request) -> Answer:
    fields = request.fields
    standing, refusal = _refusal(db, request)
    if standing is None:
        return refusal
    identity = (standing.key, fields["message_id"])
    earlier = db.execute("SELECT epoch FROM started WHERE trace = ? AND message_id = ?", identity).fetchone()
    db.execute(
        "INSERT INTO started (trace, message_id, node_name, epoch) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET epoch = excluded.epoch",
        (*identity, fields["node_name"], fields["epoch"]),
    )
    return {"earlier": earlier[0] if earlier else None}


def _record_step(db: sqlite3.Connection, request: Request) -> Answer:
    fields = request.fields
    standing, refusal = _refusal(db, request)
    if standing is None:
        return refusal
    message_id = fields["message_id"]
    recorded = db.execute(
        "INSERT INTO steps (trace, message_id, node_name, outputs, produced, consumed, vals)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            standing.key,
            message_id,
            fields["node_name"],
            fields["outputs"],
            fields["produced"],
            fields["consumed"],
            fields["vals"],
        ),
    ).rowcount
    if recorded:
        pending = standing.pending + fields["produced"] - 1 - fields["taken"]
        db.execute("UPDATE traces SET pending = ?, steps = steps + 1 WHERE key = ?", (pending, standing.key))
        return {"first": True, "pending": pending}
    row = db.execute(
        "SELECT node_name, outputs, produced, consumed, vals FROM steps WHERE trace = ? AND message_id = ?",
        (standing.key, message_id),
    ).fetchone()
    names = ("node_name", "outputs", "produced", "consumed", "vals")
    return {
        "first": False,
        "pending": standing.pending,
        "recorded": [{"message_id": message_id, **dict(zip(names, row, strict=True))}],
    }


def _add_join_part(db: sqlite3.Connection, request: Request) -> Answer:
    standing, refusal = _refusal(db, request)
    if standing is None:
        return refusal
    fields, pending = request.fields, standing.pending
    join = (standing.key, fields["join"], fields["turn"])
    row = db.execute(
        "SELECT role, fired FROM join_parts WHERE trace = ? AND name = ? AND turn = ? AND message_id = ?",
        (*join, fields["message_id"]),
    ).fetchone()
    if row is None:
        row = _put_part(db, join, fields)
        if not row[1]:
            pending -= 1
            db.execute("UPDATE traces SET pending = ? WHERE key = ?", (pending, standing.key))
    role, fired = row
    parts = None
    if fired:
        found = db.execute(
            "SELECT message_id, need, value FROM join_parts"
            " WHERE trace = ? AND name = ? AND turn = ? AND role = 'part' ORDER BY id",
            join,
        )
        parts = [{"message_id": message_id, "need": need, "value": value} for message_id, need, value in found]
    return {"parts": parts, "late": role == "late", "pending": pending}


def _put_part(db: sqlite3.Connection, join: tuple[int, str, int], fields: _Fields) -> tuple[str, int]:
    row = db.execute("SELECT have, fired FROM joins WHERE trace = ? AND name = ? AND turn = ?", join).fetchone()
    have, had_fired = row or (0, 0)
    role = "late" if had_fired else "flush" if fields["flush"] else "part"
    have += role == "part"
    fires = int(role != "late" and (role == "flush" or have >= fields["need"]))
    db.execute(
        "INSERT INTO joins (trace, name, turn, need, have, fired) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET have = excluded.have, fired = excluded.fired",
        (*join, fields["need"], have, max(fires, had_fired)),
    )
    value = fields["value"] if role == "part" else None
    db.execute(
        "INSERT INTO join_parts (trace, name, turn, message_id, role, fired, need, value)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*join, fields["message_id"], role, fires, fields["need"], value),
    )
    return role, fires


def _reopen(db: sqlite3.Connection, request: Request) -> Answer:
    standing, refusal = _refusal(db, request)
    if standing is None:
        return refusal
    added = db.execute(
        "INSERT INTO reopened VALUES (?, ?) ON CONFLICT DO NOTHING", (standing.key, request.fields["message_id"])
    ).rowcount
    if added:
        db.execute("UPDATE traces SET pending = pending + 1 WHERE key = ?", (standing.key,))
    return {"pending": standing.pending + added}


def _finish_trace(db: sqlite3.Connection, request: Request) -> Answer:
    fields = request.fields
    row = db.execute(
        "SELECT t.key, t.generation, t.state, t.error, u.epoch FROM traces t"
        " LEFT JOIN units u ON u.trace = t.key AND u.unit = ? WHERE t.trace_id = ?",
        (fields["unit"], request.trace_id),
    ).fetchone()
    if row is None or fields["wanted"] not in (None, row[1]):
        return {"known": False}
    key, generation, state, error, epoch = row
    leased = fields["unit"] is not None
    if leased and fields["generation"] != generation:
        return {"refused": "lost"}
    if state == "running":
        if leased and fields["epoch"] != epoch:
            return {"refused": "lost"}
        state, error = fields["state"], fields["error"]
        db.execute(
            "UPDATE traces SET state = ?, error = ?, ended_s = ? WHERE key = ?", (state, error, time.time(), key)
        )
    values = db.execute("SELECT vals FROM steps WHERE trace = ? AND vals IS NOT NULL ORDER BY id", (key,))
    return {"known": True, "state": state, "error": error, "values": [{"vals": text} for (text,) in values]}


def _prune_ended(db: sqlite3.Connection, request: Request) -> Answer:
    fields = request.fields
    old = db.execute(
        "SELECT key, trace_id FROM traces WHERE ended_s <= ? LIMIT ?", (fields["before_s"], fields["limit"])
    ).fetchall()
    for key, trace_id in old:
        _forget_journal(db, key)
        _forget_history(db, trace_id)
    return {"pruned": len(old)}


def _prune_events(db: sqlite3.Connection, request: Request) -> Answer:
    pruned = 0
    for trace_id in request.fields["trace_ids"]:
        (stays,) = db.execute(
            "SELECT EXISTS (SELECT 1 FROM traces WHERE trace_id = :t)"
            " OR EXISTS (SELECT 1 FROM events WHERE trace_id = :t AND saved_s > :before_s)"
            " OR EXISTS (SELECT 1 FROM bindings WHERE trace_id = :t AND saved_s > :before_s)",
            {"t": trace_id, "before_s": request.fields["before_s"]},
        ).fetchone()
        if not stays:
            _forget_history(db, trace_id)
            pruned += 1
    return {"pruned": pruned}


def _forget_history(db: sqlite3.Connection, trace_id: str) -> None:
    for table in ("events", "bindings"):
        db.execute(f"DELETE FROM {table} WHERE trace_id = ?", (trace_id,))
    digests = db.execute("SELECT digest FROM blob_uses WHERE trace_id = ?", (trace_id,)).fetchall()
    db.execute("DELETE FROM blob_uses WHERE trace_id = ?", (trace_id,))
    for (digest,) in digests:
        db.execute(
            "DELETE FROM blobs WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM blob_uses WHERE digest = ?)",
            (digest, digest),
        )


WRITES: dict[str, Callable[[sqlite3.Connection, Request], Answer]] = {
    "nothing": _nothing,
    "save_binding": _save_binding,
    "open_trace": _open_trace,
    "claim": _claim,
    "extend": _extend,
    "release": _release,
    "mark_started": _mark_started,
    "record_step": _record_step,
    "add_join_part": _add_join_part,
    "reopen": _reopen,
    "finish_trace": _finish_trace,
    "prune_ended": _prune_ended,
    "prune_events": _prune_events,
}
