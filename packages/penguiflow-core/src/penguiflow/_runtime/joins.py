"""Buckets of `join_k`: parts of one run that are put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penguiflow.errors import JoinIncomplete
from penguiflow.types import Payload

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run
    from penguiflow._runtime.station import Station

__all__ = ["FLUSH", "Bucket", "Buckets"]


class _Flush:
    """What a join is sent, in place of a part, when it can no longer fill."""

    def __repr__(self) -> str:
        return "FLUSH"


FLUSH = _Flush()


@dataclass(slots=True)
class Bucket:
    """The parts of one join in one turn of the loop it stands in; `fired` once they have gone on."""

    need: int
    emit_incomplete: bool
    parts: list[Payload] = field(default_factory=list)
    fired: bool = False

    def take(self, message: Payload) -> list[Payload] | None:
        """Add a part; returns all of them where it was the last one, or said that none will come."""
        if message is not FLUSH:
            self.parts.append(message)
            if len(self.parts) < self.need:
                return None
        self.fired = True
        parts, self.parts = self.parts, []
        return parts


class Buckets:
    """The buckets of one run. A join inside a loop has one for each turn, so turns do not mix."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[Station, int], Bucket] = {}

    def of(self, station: Station, turn: int, *, need: int, emit_incomplete: bool) -> Bucket:
        """Return the bucket of a join in this turn."""
        key = (station, turn)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(need, emit_incomplete)
        return bucket

    def unfilled(self, run: Run) -> tuple[Station, int] | None:
        """Return join and turn of the first bucket, in the order of the graph, that has not fired; None if all have.

        One at a time: what it emits may be the part that a later join waits for.

        Raises:
            JoinIncomplete: the bucket does not emit what there is.
        """
        for (station, turn), bucket in sorted(self._buckets.items(), key=lambda item: (item[0][1], item[0][0].index)):
            if bucket.fired:
                continue
            if not bucket.emit_incomplete:
                error = JoinIncomplete(run.trace_id, station.name, len(bucket.parts), bucket.need)
                error.partial = list(run.results)
                raise error
            return station, turn
        return None
