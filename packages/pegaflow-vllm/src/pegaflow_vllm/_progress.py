"""Transfers under way, on threads of their own."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

_PATIENCE = 5
"""How much nicer than the others a patient thread is: as `nice` counts, of which 19 is the most."""


class Progress:
    """Runs transfers on a few threads, and tells when any of them is done.

    A transfer ends: it waits for the sidecar no longer than its time-out.
    """

    def __init__(self, name: str, threads: int, *, is_patient: bool = False) -> None:
        start = _be_patient if is_patient else None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=start)
        self._ended = threading.Condition()

    def start(self, work: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Run `work` on a thread."""
        future = self._pool.submit(work, *arguments)
        future.add_done_callback(self._tell)
        return future

    def wait(self, is_over: Callable[[], bool], timeout_s: float) -> None:
        """Wait until something is over, which is asked each time a transfer has ended, or for so long."""
        with self._ended:
            self._ended.wait_for(is_over, timeout_s)

    def _tell(self, _: "Future[Any]") -> None:
        with self._ended:
            self._ended.notify_all()

    def close(self) -> None:
        """Wait for what is under way; what has not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _be_patient() -> None:
    """Leave the CPU to others: on Linux each thread has a priority of its own."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PATIENCE)
