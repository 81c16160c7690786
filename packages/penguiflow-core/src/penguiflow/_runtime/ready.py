"""Which of a node's waiting traces goes next."""

from __future__ import annotations

import heapq
from collections import deque

from penguiflow._runtime.envelope import Envelope

__all__ = ["ReadyQueue"]


class ReadyQueue:
    """Envelopes in order of priority, then of arrival.

    Plain first-in first-out while all priorities are 0, which is nearly always. Otherwise ranked, and the oldest
    envelope is passed over at most `patience` times: then it goes first, so nothing starves whatever the priorities.
    """

    __slots__ = ("_fifo", "_patience", "_ranked")

    def __init__(self, patience: int) -> None:
        self._fifo: deque[Envelope] = deque()
        self._ranked: _Ranked | None = None
        self._patience = patience

    def __len__(self) -> int:
        return len(self._fifo) if self._ranked is None else len(self._ranked.heap)

    def push(self, envelope: Envelope) -> None:
        """Add an envelope behind all of its priority."""
        if self._ranked is None:
            if not envelope.run.priority:
                self._fifo.append(envelope)
                return
            self._ranked = _Ranked(self._patience)
            while self._fifo:
                self._ranked.push(self._fifo.popleft())
        self._ranked.push(envelope)

    def pop(self) -> Envelope | None:
        """Remove and return the next envelope; None when there is none."""
        if self._ranked is None:
            return self._fifo.popleft() if self._fifo else None
        envelope = self._ranked.pop()
        if not self._ranked.heap:
            self._ranked = None
        return envelope

    def purge(self, run: object) -> list[Envelope]:
        """Remove and return every envelope of a run, in order."""
        kept: list[Envelope] = []
        gone: list[Envelope] = []
        if self._ranked is not None:
            waiting = [item[2] for item in sorted(self._ranked.heap, key=lambda item: item[1])]
        else:
            waiting = list(self._fifo)
        for envelope in waiting:
            (gone if envelope.run is run else kept).append(envelope)
        if gone:
            self._fifo, self._ranked = deque(), None
            for envelope in kept:
                self.push(envelope)
        return gone


class _Ranked:
    """A heap by priority, beside the order of arrival; an envelope taken from one is skipped in the other."""

    __slots__ = ("arrived", "heap", "order", "patience", "picks", "taken")

    def __init__(self, patience: int) -> None:
        self.heap: list[tuple[int, int, Envelope]] = []
        self.arrived: deque[tuple[int, int]] = deque()
        self.taken: set[int] = set()
        self.order = 0
        self.picks = 0
        self.patience = patience

    def push(self, envelope: Envelope) -> None:
        self.order += 1
        heapq.heappush(self.heap, (-envelope.run.priority, self.order, envelope))
        self.arrived.append((self.order, self.picks))

    def pop(self) -> Envelope:
        while self.arrived[0][0] in self.taken:
            self.taken.discard(self.arrived.popleft()[0])
        oldest, picks_before = self.arrived[0]
        if self.picks - picks_before >= self.patience:
            index = next(i for i, item in enumerate(self.heap) if item[1] == oldest)
            item = self.heap.pop(index)
            heapq.heapify(self.heap)
            self.arrived.popleft()
        else:
            item = heapq.heappop(self.heap)
            self.taken.add(item[1])
        self.picks += 1
        return item[2]
