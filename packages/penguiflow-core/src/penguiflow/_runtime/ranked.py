"""Which of a node's waiting traces goes next, where their priorities differ."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penguiflow._runtime.context import Context

__all__ = ["RankedQueue"]


class RankedQueue:
    """Messages in order of priority, then of arrival, with what a deque offers of this.

    The oldest one is passed over at most `patience` times: then it goes first, so nothing starves, whatever the
    priorities.
    """

    __slots__ = ("_arrived", "_heap", "_order", "_patience", "_picks", "_taken")

    def __init__(self, waiting: Iterable[Context], *, patience: int) -> None:
        self._heap: list[tuple[int, int, Context]] = []
        self._arrived: deque[tuple[int, int]] = deque()
        self._taken: set[int] = set()
        self._order = 0
        self._picks = 0
        self._patience = patience
        self.extend(waiting)

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Context]:
        """Iterate in order of arrival."""
        return (item[2] for item in sorted(self._heap, key=lambda item: item[1]))

    def append(self, ctx: Context) -> None:
        """Add a message behind all of its priority."""
        self._order += 1
        heapq.heappush(self._heap, (-ctx._run.priority, self._order, ctx))
        self._arrived.append((self._order, self._picks))

    def extend(self, waiting: Iterable[Context]) -> None:
        """Add messages one by one."""
        for ctx in waiting:
            self.append(ctx)

    def popleft(self) -> Context:
        """Remove and return the next message."""
        while self._arrived[0][0] in self._taken:
            self._taken.discard(self._arrived.popleft()[0])
        oldest, picks_before = self._arrived[0]
        if self._picks - picks_before >= self._patience:
            index = next(i for i, item in enumerate(self._heap) if item[1] == oldest)
            item = self._heap.pop(index)
            heapq.heapify(self._heap)
            self._arrived.popleft()
        else:
            item = heapq.heappop(self._heap)
            self._taken.add(item[1])
        self._picks += 1
        return item[2]
