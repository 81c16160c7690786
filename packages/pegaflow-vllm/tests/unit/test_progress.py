"""A step waits for what is not over yet, and for nothing else."""

import threading
import time

from pegaflow_vllm._progress import Progress


def test_what_ended_before_ends_no_later_wait() -> None:
    progress = Progress("test", 1)
    progress.start(lambda: None).result(5)
    began_s = time.monotonic()

    progress.wait(lambda: False, 0.05)

    assert time.monotonic() - began_s >= 0.05
    progress.close()


def test_a_wait_ends_with_what_it_waits_for() -> None:
    progress, go = Progress("test", 2), threading.Event()
    first, last = progress.start(lambda: None), progress.start(go.wait, 5)
    threading.Timer(0.01, go.set).start()

    progress.wait(lambda: first.done() and last.done(), 5)

    assert last.done()
    progress.close()
