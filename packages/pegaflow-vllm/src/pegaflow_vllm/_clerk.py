"""Hints on their way to the sidecar, off the scheduler's thread."""

import heapq
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pegaflow_vllm._chain import HASH_BYTES
from pegaflow_vllm._hints import Hints
from pegaflow_vllm._link import Link, Session

_MOST_WAITING = 256
"""Hints beyond these are dropped: the sidecar is slow, and they only make things faster."""

Action = Literal["pin", "prefetch", "release", "next_use"]


@dataclass(frozen=True)
class _Hint:
    namespaces: Sequence[str]
    names: bytes
    action: Action
    time_s: float | None = None


class Clerk:
    """Passes hints on, in their order."""

    def __init__(self, link: Link, *, most_pinned: int) -> None:
        self._link = link
        self._most_pinned = most_pinned
        self._pinned: list[tuple[float, int]] = []
        self._waiting: queue.Queue[_Hint | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """Hints that were not passed on."""

    def prefetch(self, namespaces: Sequence[str], names: bytes) -> None:
        """Bring blocks to memory."""
        self._put(_Hint(namespaces, names, "prefetch"))

    def finished(self, namespaces: Sequence[str], names: bytes, hints: Hints) -> None:
        """Say what becomes of the blocks of a request that is over."""
        if hints.is_over:
            self._put(_Hint(namespaces, names, "release"))
            return
        if hints.next_use_s is not None:
            self._put(_Hint(namespaces, names, "next_use", hints.next_use_s))
        if hints.pin_s is not None and self._may_pin(len(names) // HASH_BYTES, hints.pin_s):
            self._put(_Hint(namespaces, names, "pin", hints.pin_s))

    def close(self) -> None:
        """End the thread, once it has passed on what waits."""
        if self._thread is not None and self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join(timeout=5)

    def _may_pin(self, blocks: int, pin_s: float) -> bool:
        """Bound what requests have pinned at once, by counting each pin until its time is over."""
        now = time.monotonic()
        while self._pinned and self._pinned[0][0] <= now:
            heapq.heappop(self._pinned)
        if blocks + sum(pinned for _, pinned in self._pinned) > self._most_pinned:
            self.dropped += 1
            return False
        heapq.heappush(self._pinned, (now + pin_s, blocks))
        return True

    def _put(self, hint: _Hint) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pegaflow-hints", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(hint)
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        while (hint := self._waiting.get()) is not None:
            self._link.call(partial(_tell, hint=hint), None)


def _tell(session: Session, hint: _Hint) -> None:
    for namespace in hint.namespaces:
        cache = session.cache(namespace)
        match hint.action:
            case "pin":
                cache.hint(hint.names, "pin", for_s=hint.time_s)
            case "next_use":
                cache.hint(hint.names, "next_use", next_use_s=hint.time_s)
            case action:
                cache.hint(hint.names, action)
