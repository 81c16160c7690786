"""What carries messages between the processes of a flow: the MessageBus protocol, and one in process."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["MessageBus"]


class MessageBus(Protocol):
    """Queues with at-least-once delivery."""

    async def put(self, queue: str, message: Any) -> None: ...
