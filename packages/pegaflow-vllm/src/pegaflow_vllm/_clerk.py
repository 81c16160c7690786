"""Hints on their way to the sidecar, off the scheduler's thread."""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pegaflow_vllm._chain import HASH_BYTES
from pegaflow_vllm._hints import Hints
from pegaflow_vllm._link import Link, Session

_MOST_WAITING = 256
"""Hints beyond these are dropped: the sidecar is slow, and they only make things faster."""

_CLOSING_S = 5
"""How long the end of an engine waits for its last hints."""

_log = logging.getLogger("vllm.pegaflow")

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
        self._pinned: dict[bytes, float] = {}
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
            for name in _each(names):
                self._pinned.pop(name, None)
            self._put(_Hint(namespaces, names, "release"))
            return
        if hints.next_use_s is not None:
            self._put(_Hint(namespaces, names, "next_use", hints.next_use_s))
        if hints.pin_s is not None and self._may_pin(names, hints.pin_s):
            self._put(_Hint(namespaces, names, "pin", hints.pin_s))

    def close(self) -> None:
        """End the thread, once it has passed on what waits."""
        if self._thread is not None and self._thread.is_alive():
            with suppress(queue.Full):
                self._waiting.put(None, timeout=_CLOSING_S)
            self._thread.join(_CLOSING_S)

    def _may_pin(self, names: bytes, pin_s: float) -> bool:
        """Bound what requests have pinned at once, by counting each block until its time is over or it is released."""
        now_s = time.monotonic()
        pinned = dict.fromkeys(_each(names), now_s + pin_s)
        if len(self._pinned.keys() | pinned) > self._most_pinned:
            self._pinned = {name: until_s for name, until_s in self._pinned.items() if until_s > now_s}
        if len(self._pinned.keys() | pinned) > self._most_pinned:
            self.dropped += 1
            return False
        self._pinned |= pinned
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
            try:
                self._link.call(partial(_tell, hint=hint), None)
            except Exception:  # Whatever is wrong with one hint, the next may be right.
                _log.exception("pegaflow: a hint failed")
                self.dropped += 1


def _each(names: bytes) -> list[bytes]:
    return [names[at : at + HASH_BYTES] for at in range(0, len(names), HASH_BYTES)]


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
