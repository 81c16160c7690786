"""Signals of the process, as something to wait for."""

from __future__ import annotations

import asyncio
import signal
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Signals"]


class Signals:
    """Takes signals while it is entered, and gives them to whoever waits, in order.

    It belongs to the event loop of the main thread. The handlers that were there before are put back at the end.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers
        # No one sends more than a few before they see that the first was heard.
        self._received: asyncio.Queue[int] = asyncio.Queue(maxsize=16)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def handle(number: int, frame: FrameType | None) -> None:
            # Not add_signal_handler, which Windows lacks.
            loop.call_soon_threadsafe(self._take, number)

        for number in self._numbers:
            self._before[number] = signal.signal(number, handle)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    async def wait(self) -> int:
        """Wait for the next signal, and return its number."""
        return await self._received.get()

    def _take(self, number: int) -> None:
        if not self._received.full():
            self._received.put_nowait(number)
