"""Producers that wait at a full queue."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penguiflow._runtime.context import Context
    from penguiflow._runtime.run import Run

__all__ = ["Blocked", "BlockingQueue"]


class Blocked:
    """A producer that waits for room; it counts as work of its trace until it is let in or gives up."""

    __slots__ = ("ctx", "future", "lends_slot", "target")

    def __init__(self, target: BlockingQueue, ctx: Context, *, lends_slot: bool = False) -> None:
        self.target = target
        self.ctx = ctx
        self.lends_slot = lends_slot
        """Whether its node may serve another trace meanwhile."""
        self.future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        ctx._run.pending += 1
        target.blocked.append(self)

    def resolve(self, admitted: bool) -> None:
        """Let the producer go on: its message is in, or its run has ended."""
        if not self.future.done():
            self.future.set_result(admitted)
            self.ctx._run.pending -= 1

    def withdraw(self) -> None:
        """Take the message back, because its producer gave up; without effect once it is in."""
        if not self.future.done() or self.future.cancelled():
            if self in self.target.blocked:
                self.target.blocked.remove(self)
            self.future.cancel()
            run = self.ctx._run
            run.pending -= 1
            if not run.pending:
                run.settle()


class BlockingQueue:
    """A bounded queue with producers that wait for room, in order of arrival."""

    __slots__ = ("blocked",)

    def __init__(self) -> None:
        self.blocked: deque[Blocked] = deque()

    def offer(self, ctx: Context) -> bool:
        """Take the message if there is room for it."""
        raise NotImplementedError

    def admit(self) -> None:
        """Let in whoever there is room for, in order of arrival."""
        waiting = self.blocked
        for _ in range(len(waiting)):
            blocked = waiting.popleft()
            if blocked.future.done():
                continue
            if self.offer(blocked.ctx):
                blocked.resolve(True)
            else:
                waiting.append(blocked)

    def turn_away(self, run: Run) -> None:
        """Let the producers of an ended run go on; their messages are dropped."""
        kept: deque[Blocked] = deque()
        for blocked in self.blocked:
            if blocked.ctx._run is run:
                blocked.resolve(False)
            else:
                kept.append(blocked)
        self.blocked = kept
