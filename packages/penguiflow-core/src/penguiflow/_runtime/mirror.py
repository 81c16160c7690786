"""Traces that run elsewhere, or have ended, as a process sees them that awaits them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penguiflow._runtime.run import Run
from penguiflow._runtime.unit import Ending
from penguiflow.state import TraceRecord

if TYPE_CHECKING:
    from penguiflow._runtime.journal import Journal

__all__ = ["Follower", "Mirror", "attached", "ended"]


class Mirror(Ending):
    """A run without work of its own: it ends when its trace does, and ending it ends the trace."""

    def __init__(self, journal: Journal, run: Run, generation: int, *, attached: bool) -> None:
        super().__init__(journal, run, generation)
        self.attached = attached
        """Whether the trace was submitted elsewhere: a drain does not wait for it."""


class Follower(Mirror):
    """Ends a run that worked on its trace until another process took that over, once the trace has ended there.

    The run itself has ended, so that nothing it still computes is sent or written. Whoever awaits it is told of this
    one's outcome, and cancels this one.
    """

    def __init__(self, journal: Journal, lost: Run, generation: int) -> None:
        # Not active under the trace's id: this process may take the trace up again.
        run = Run(journal.runtime, lost.trace_id, None, emitted=False)
        run.pending = 1
        super().__init__(journal, run, generation, attached=True)
        self._lost = lost

    def _tell(self) -> None:
        super()._tell()
        self.run.note_seen()
        self._lost.error, self._lost.results = self.run.error, self.run.results
        self._lost.tell()


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
