"""What is written: the same bytes on both sides."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from penguiflow.state import Step, TraceStart

__all__ = ["EVENT", "OUTPUTS", "event_row", "start", "step", "step_row"]

EVENT: dict[str, Any] = {"node_name": "retrieve", "attempt": 0, "latency_s": 0.0123, "payload": "x" * 180}
"""About 250 bytes of JSON, as an event of a flow has."""
OUTPUTS: Any = [{"target": "answer", "payload": {"passages": "x" * 190}, "meta": {}}]


def event_row(number: int) -> tuple[str, float, str, str]:
    """Return an event as a plain loop inserts it, encoded when it is."""
    return f"trace-{number % 64}", 1764295200.25, "node_end", to_json(EVENT).decode()


def step_row(number: int) -> tuple[str, str, str, str]:
    """Return a step as a plain loop inserts it."""
    return f"trace-{number % 64}", f"message-{number}", "retrieve", to_json(OUTPUTS).decode()


def start(trace_id: str) -> TraceStart:
    """Return what a trace begins with."""
    return TraceStart(trace_id=trace_id, flow="bench", version="1", graph={"retrieve": ()}, message={}, entries=("a",))


def step(message_id: str) -> Step:
    """Return a step that goes on with one message."""
    return Step(message_id=message_id, node_name="retrieve", outputs=OUTPUTS, produced=1)
