"""What goes to the one that writes, and what comes back: plain data, the same for every database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

__all__ = ["Answer", "Backend", "Batch", "EventRow", "Request", "Waiting"]

Answer: TypeAlias = dict[str, Any]
"""What a request came to. `refused` names why nothing was written, where that is so."""


class EventRow(NamedTuple):
    """An event on its way into the database."""

    trace_id: str
    ts: float
    kind: str
    data: str
    """JSON text."""


@dataclass(frozen=True, slots=True)
class Request:
    """One write. It is done whole or, where the answer is a refusal or an error, not at all."""

    kind: str
    trace_id: str
    fields: dict[str, Any] = field(default_factory=dict)
    """What JSON can hold."""
    texts: tuple[str, ...] = ()
    """The fields that hold JSON text of any size."""


@dataclass(slots=True)
class Waiting:
    """A request and whoever waits for its answer."""

    request: Request
    future: asyncio.Future[Answer]
    loop: asyncio.AbstractEventLoop


@dataclass(slots=True)
class Batch:
    """What is committed together: first the events, then the requests in their order."""

    events: list[EventRow]
    waiting: list[Waiting]


class Backend(Protocol):
    """A database, used by the thread that writes and by no other."""

    def open(self) -> None:
        """Connect, and bring the tables up to date. Does nothing where that was done."""
        ...

    def run(self, events: list[EventRow], requests: list[Request]) -> list[Answer]:
        """Do all of it in one transaction, and return once that is committed; raises where it is not."""
        ...

    def idle(self) -> float | None:
        """Do what is due while nothing else is; returns in how many seconds it wants to be called again."""
        ...

    def is_common(self, error: BaseException) -> bool:
        """Whether an error would meet every request alike, so that trying them one by one is of no use."""
        ...

    def explain(self, error: BaseException) -> BaseException:
        """Return the error that callers see."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...
