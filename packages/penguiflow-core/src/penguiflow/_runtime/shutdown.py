"""Tells whether the event loop is being shut down around a flow that was not stopped."""

from __future__ import annotations

import asyncio

__all__ = ["loop_shuts_down"]


def loop_shuts_down() -> bool:
    """Tell a shutdown, which cancels every task, from the cancellation of the task that asks."""
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return False
    return all(other.cancelling() for other in asyncio.all_tasks() if other is not task)
