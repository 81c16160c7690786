"""Hints reach the sidecar in their order, and pins are bounded by the blocks they keep."""

import threading
from collections.abc import Callable
from typing import Any, cast

from pegaflow_vllm._clerk import Clerk
from pegaflow_vllm._hints import Hints
from pegaflow_vllm._link import Link


class Wire:
    """A link on which everything is taken note of; the first call fails in a way that nobody expects."""

    def __init__(self) -> None:
        self.calls = 0
        self.passed = threading.Event()

    def call(self, operation: Callable[[Any], None], default: None) -> None:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("unexpected")
        self.passed.set()


def names(*blocks: int) -> bytes:
    return b"".join(block.to_bytes(32) for block in blocks)


def test_turns_that_pin_the_same_blocks_count_them_once() -> None:
    clerk = Clerk(cast(Link, Wire()), most_pinned=3)
    for _ in range(5):
        clerk.finished(["n"], names(1, 2), Hints(pin_s=60))
    clerk.finished(["n"], names(1, 2, 3), Hints(pin_s=60))
    assert clerk.dropped == 0
    clerk.finished(["n"], names(1, 2, 3, 4), Hints(pin_s=60))
    assert clerk.dropped == 1
    clerk.close()


def test_a_session_that_is_over_gives_its_pins_back() -> None:
    clerk = Clerk(cast(Link, Wire()), most_pinned=2)
    for block in range(4):
        clerk.finished(["n"], names(block, 9 + block), Hints(pin_s=60))
        clerk.finished(["n"], names(block, 9 + block), Hints(is_over=True))
    clerk.close()
    assert clerk.dropped == 1  # The hint that failed.


def test_a_hint_that_fails_ends_no_other() -> None:
    wire = Wire()
    clerk = Clerk(cast(Link, wire), most_pinned=2)
    clerk.prefetch(["n"], names(1))
    clerk.prefetch(["n"], names(2))
    assert wire.passed.wait(5)
    clerk.close()
    assert (wire.calls, clerk.dropped) == (2, 1)
