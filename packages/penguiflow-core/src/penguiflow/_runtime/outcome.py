"""Reads the outcome of a run that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penguiflow.errors import MultipleResults
from penguiflow.types import Payload

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run

__all__ = ["all_values", "only_value"]


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


def _raise_error(run: Run) -> None:
    if run.error is not None:
        run.note_seen()
        raise run.error.with_traceback(None)
