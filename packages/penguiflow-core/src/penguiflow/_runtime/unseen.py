"""A failure that nobody was told of is logged once its trace is dropped."""

from __future__ import annotations

import logging

from penguiflow.errors import FlowError, FlowErrorCode

__all__ = ["Unseen"]

# Whoever cancels a trace or stops its flow knows that it ends.
_EXPECTED = frozenset({FlowErrorCode.TRACE_CANCELLED, FlowErrorCode.FLOW_STOPPED})

logger = logging.getLogger("penguiflow")


class Unseen:
    """Belongs to a run that has failed, and goes with it: made for failures only, so that success costs nothing."""

    __slots__ = ("_error", "seen")

    def __init__(self, error: FlowError) -> None:
        self._error = error
        self.seen = error.code in _EXPECTED

    def __del__(self) -> None:
        if not self.seen:
            logger.error("a trace failed and nobody awaited it: %s", self._error)
