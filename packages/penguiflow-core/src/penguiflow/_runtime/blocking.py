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
        target.blocked.setdefault(ctx._run, deque()).append(self)

    def resolve(self, admitted: bool) -> None:
        """Let the producer go on: its message is in, or its run has ended."""
        if not self.future.done():
            self.future.set_result(admitted)
            self.ctx._run.pending -= 1

    def withdraw(self) -> None:
        """Take the message back, because its producer gave up; without effect once it is in."""
        if not self.future.done() or self.future.cancelled():
            run = self.ctx._run
            self.target.forget(self)
            self.future.cancel()
            run.pending -= 1
            if not run.pending:
                run.settle()


class BlockingQueue:
    """A bounded queue with producers that wait for room.

    They wait by run: runs take turns in the order in which they came, and each keeps the order of its own.
    """

    __slots__ = ("blocked",)

    def __init__(self) -> None:
        self.blocked: dict[Run, deque[Blocked]] = {}

    def offer(self, ctx: Context) -> bool:
        """Take the message if there is room for it."""
        raise NotImplementedError

    def admit_next(self) -> None:
        """Let in one message of the run whose turn it is."""
        self.admit_run(next(iter(self.blocked)))

    def admit_run(self, run: Run) -> None:
        """Let in the run's first waiting message, for which there has to be room."""
        waiting = self.blocked.pop(run)
        while waiting:
            blocked = waiting.popleft()
            if not blocked.future.done():
                admitted = self.offer(blocked.ctx)
                assert admitted, "whoever admits has made sure that there is room"
                blocked.resolve(True)
                break
        if waiting:
            self.blocked[run] = waiting

    def forget(self, blocked: Blocked) -> None:
        """Take a producer out that has given up."""
        run = blocked.ctx._run
        waiting = self.blocked.get(run)
        if waiting is not None and blocked in waiting:
            waiting.remove(blocked)
            if not waiting:
                del self.blocked[run]

    def turn_away(self, run: Run) -> None:
        """Let the producers of an ended run go on; their messages are dropped."""
        for blocked in self.blocked.pop(run, ()):
            blocked.resolve(False)
