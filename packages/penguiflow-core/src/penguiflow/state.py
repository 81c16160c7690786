"""Where a flow's history is kept: the StateStore protocol, and one in memory."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

__all__ = ["StateStore"]


@runtime_checkable
class StateStore(Protocol):
    """Keeps the events of traces, and which remote tasks belong to them."""

    async def save_event(self, trace_id: str, ts: float, kind: str, data: dict[str, Any]) -> None: ...
    async def load_history(self, trace_id: str) -> list[dict[str, Any]]: ...
    async def save_remote_binding(self, trace_id: str, context_id: str, task_id: str, agent_url: str) -> None: ...
