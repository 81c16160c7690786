"""Reads the outcome of a run that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penguiflow.errors import FlowError, FlowErrorCode, JoinIncomplete, MultipleResults, TraceCancelled
from penguiflow.types import Payload

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run
    from penguiflow.state import TraceOutcome

__all__ = ["all_values", "as_error", "only_value"]


def only_value(run: Run) -> Payload:
    """Return the run's only value, None if it gave none.

    Raises:
        FlowError: the run failed.
        MultipleResults: it gave more than one value.
    """
    _raise_error(run)
    if len(run.results) > 1:
        raise MultipleResults(run.trace_id, run.results)
    return run.results[0][1] if run.results else None


def all_values(run: Run) -> list[tuple[str, Payload]]:
    """Return every value of the run with the node it came from, in order of arrival.

    Raises:
        FlowError: the run failed.
    """
    _raise_error(run)
    return list(run.results)


def as_error(trace_id: str, outcome: TraceOutcome) -> FlowError:
    """Return the error of a trace that did not complete, from how the store describes it."""
    payload = outcome.error or {}
    code, node_name = payload.get("code", FlowErrorCode.TRACE_CANCELLED), payload.get("node_name")
    if code == FlowErrorCode.TRACE_CANCELLED:
        return TraceCancelled(trace_id, payload.get("message", "the trace was cancelled"))
    if code == FlowErrorCode.JOIN_INCOMPLETE and "have" in payload:
        return JoinIncomplete(trace_id, node_name or "", payload["have"], payload["need"])
    return FlowError(trace_id, node_name, code, payload.get("message", "the trace failed"))


def _raise_error(run: Run) -> None:
    if run.error is not None:
        run.note_seen()
        raise run.error.with_traceback(None)
