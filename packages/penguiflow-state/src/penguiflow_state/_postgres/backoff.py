"""Waits between attempts, longer each time, until time is up."""

from __future__ import annotations

import random
import time

__all__ = ["Backoff"]

_FIRST_S = 0.02
_LONGEST_S = 1.0


class Backoff:
    """Waits in a thread, for `limit_s` seconds in all."""

    def __init__(self, limit_s: float) -> None:
        self._deadline = time.monotonic() + limit_s
        self._pause_s = _FIRST_S

    def wait(self) -> bool:
        """Wait for the next attempt; false where there is none."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            return False
        # Processes that lost the same server should not all come back at once.
        time.sleep(min(left_s, self._pause_s * random.uniform(0.5, 1.0)))
        self._pause_s = min(2 * self._pause_s, _LONGEST_S)
        return True
