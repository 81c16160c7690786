"""Traces that run elsewhere, or have ended, as a process sees them that awaits them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penguiflow._runtime.run import Run
from penguiflow._runtime.unit import Ending
from penguiflow.state import TraceRecord

if TYPE_CHECKING:
    from penguiflow._runtime.journal import Journal

__all__ = ["Mirror", "attached", "ended"]


class Mirror(Ending):
    """A run without work of its own: it ends when its trace does, and ending it ends the trace."""

    def __init__(self, journal: Journal, run: Run, generation: int, *, attached: bool) -> None:
        super().__init__(journal, run, generation)
        self.attached = attached
        """Whether the trace was submitted elsewhere: a drain does not wait for it."""


def attached(journal: Journal, record: TraceRecord) -> Run:
    """Return a run that follows a trace at work elsewhere."""
    run = Run(journal.runtime, record.start.trace_id, None, emitted=False)
    run.pending = 1
    journal.keep(Mirror(journal, run, record.generation, attached=True))
    return run


def ended(journal: Journal, record: TraceRecord) -> Run:
    """Return the run of a trace that has ended."""
    run = Run(journal.runtime, record.start.trace_id, None, emitted=False)
    journal.adopt(run, record.outcome)
    run.done = run.told = True
    return run
