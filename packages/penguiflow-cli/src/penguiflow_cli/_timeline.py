"""The history of a trace, told as what each node did and when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from penguiflow.state import StoredEvent
from penguiflow_cli._screen import duration

__all__ = ["Entry", "Outcome", "timeline"]

Outcome: TypeAlias = Literal["", "ok", "failed", "running"]
"""How what an entry tells of went; empty for what has no length."""

# Said by the outcome of a trace, or of no use to whoever reads a history.
_LEFT_OUT = frozenset({"fetch"})
_OUTSIDE = "OpenSea"


@dataclass(slots=True, eq=False)
class Entry:
    """One line of a timeline."""

    ts: float
    """When it began, seconds since the epoch."""
    what: str
    """`run` of a node, `remote` call, `chunks`, or the kind of the event."""
    node: str = ""
    attempt: int = 0
    took_s: float | None = None
    """How long it took; None while it runs, and for what has no length."""
    outcome: Outcome = ""
    detail: str = ""
    count: int = 1
    """How many events it stands for."""
    stream: str = ""
    """Which stream, of chunks."""

    def add(self, detail: str) -> None:
        """Append to the detail."""
        self.detail = f"{self.detail} {detail}".strip()

    def end(self, event: StoredEvent, outcome: Outcome) -> None:
        """Note how it ended."""
        latency_ms = event["data"].get("latency_ms")
        self.took_s = latency_ms / 1000 if latency_ms is not None else max(event["ts"] - self.ts, 0.0)
        self.outcome = outcome


class _Teller:
    """Goes through events in order, and pairs those that begin something with those that end it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        # What runs, by kind, node and attempt. There may be several of one key: a node that runs messages of a trace
        # side by side, or one whose process died, which never ends.
        self._open: defaultdict[tuple[str, str, int], list[Entry]] = defaultdict(list)
        self._last_of: dict[str, Entry] = {}

    def tell(self, event: StoredEvent) -> None:
        """Add what an event says."""
        match event["kind"]:
            case "node_start":
                self._begin(event, "run")
            case "node_end":
                self._end(event, "run", "ok")
            case "node_error":
                self._end(event, "run", "failed").add(_error(event["data"]))
            case "remote_call_start":
                self._begin(event, "remote").add(_remote(event["data"]))
            case "remote_call_end":
                self._settle_remote(event, "ok")
            case "remote_call_error":
                self._settle_remote(event, "failed").add(_error(event["data"]))
            case "stream_chunk":
                self._chunk(event)
            case "emit":
                self._emit(event)
            case "retry":
                self._append(event, "retry").add(f"in {duration(event['data'].get('delay_s') or 0.0)}")
            case kind if kind not in _LEFT_OUT:
                self._append(event, kind).add(_fields(event["data"]))

    def _append(self, event: StoredEvent, what: str) -> Entry:
        data = event["data"]
        entry = Entry(event["ts"], what, data.get("node_name") or "", int(data.get("attempt") or 0))
        self.entries.append(entry)
        return entry

    def _begin(self, event: StoredEvent, what: str) -> Entry:
        entry = self._append(event, what)
        entry.outcome = "running"
        self._open[what, entry.node, entry.attempt].append(entry)
        self._last_of[entry.node] = entry
        return entry

    def _end(self, event: StoredEvent, what: str, outcome: Outcome) -> Entry:
        data = event["data"]
        key = (what, data.get("node_name") or "", int(data.get("attempt") or 0))
        # A node may fail before it is called, because its input does not fit.
        entry = _taken(self._open[key], event) if self._open[key] else self._append(event, what)
        entry.end(event, outcome)
        return entry

    def _settle_remote(self, event: StoredEvent, outcome: Outcome) -> Entry:
        entry = self._end(event, "remote", outcome)
        entry.detail = _remote(event["data"])
        return entry

    def _chunk(self, event: StoredEvent) -> None:
        data = event["data"]
        stream, node = str(data.get("stream_id")), data.get("node_name") or ""
        last = self.entries[-1] if self.entries else None
        if last is None or (last.what, last.node, last.stream) != ("chunks", node, stream):
            last = self._append(event, "chunks")
            last.stream, last.count = stream, 0
        last.count += 1
        last.took_s = max(event["ts"] - last.ts, 0.0)
        last.detail = f"{last.count} of stream {stream}" + (", done" if data.get("done") else "")

    def _emit(self, event: StoredEvent) -> None:
        data = event["data"]
        sent = "→ " + ", ".join(str(target) for target in data.get("targets") or ["result"])
        node = data.get("node_name") or ""
        if node in self._last_of:
            self._last_of[node].add(sent)
        else:
            entry = self._append(event, "submit" if data.get("source") == _OUTSIDE else "emit")
            entry.add(sent)


def timeline(events: Iterable[StoredEvent]) -> list[Entry]:
    """Return what happened in a trace, in the order in which it began."""
    teller = _Teller()
    for event in events:
        teller.tell(event)
    return teller.entries


def _taken(begun: list[Entry], event: StoredEvent) -> Entry:
    """Take out what an event ends: the entry that began as long before it as the event says, else the first."""
    latency_ms = event["data"].get("latency_ms")
    if latency_ms is None:
        return begun.pop(0)
    began = event["ts"] - latency_ms / 1000
    entry = min(begun, key=lambda entry: abs(entry.ts - began))
    begun.remove(entry)
    return entry


def _error(data: dict[str, Any]) -> str:
    return ": ".join(str(part) for part in (data.get("code"), data.get("exception")) if part)


def _remote(data: dict[str, Any]) -> str:
    told = {"task": data.get("task_id"), "context": data.get("context_id"), "skill": data.get("skill")}
    size = {"sent": data.get("bytes_sent"), "received": data.get("bytes_received")}
    fields = [f"{name}={value}" for name, value in told.items() if value]
    fields += [f"{name}={value}B" for name, value in size.items() if value]
    return " ".join([str(data.get("agent_url") or ""), *fields]).strip()


def _fields(data: dict[str, Any]) -> str:
    known = ("node_name", "attempt", "latency_ms", "queue_depth")
    return " ".join(f"{name}={value}" for name, value in data.items() if name not in known and value not in (None, ""))
