"""Which task of an agent works for a message: noted in the flow's state store, and found there again."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Protocol, runtime_checkable

from penguiflow._json import encode
from penguiflow.state import RemoteBinding, StateStore

__all__ = ["REMOTE_TASK", "find_task", "fingerprint"]

REMOTE_TASK = "core.remote_task"
"""The event that says which task works for which message; a binding only says for which trace."""

_CALL_ENDED = frozenset({"remote_call_end", "remote_call_error"})


@runtime_checkable
class _LoadsBindings(Protocol):
    async def load_remote_bindings(self, trace_id: str) -> list[RemoteBinding]: ...


def fingerprint(request: dict[str, Any]) -> str:
    """Return a digest of what an agent is asked: a trace id that is used again may ask something else."""
    return sha256(encode([request["skill"], request["payload"]])).hexdigest()[:32]


async def find_task(store: StateStore, request: dict[str, Any], agent_url: str) -> str | None:
    """Return the task that an earlier run of this call left at the agent; None where there is none to take up.

    A call that has ended, well or not, left none; one whose process died did, and so did one that lost its agent.
    """
    if not isinstance(store, _LoadsBindings):
        return None
    trace_id = request["trace_id"]
    bindings = await store.load_remote_bindings(trace_id)
    known = {binding["task_id"] for binding in bindings if binding["agent_url"] == agent_url}
    # Most calls are the first of their trace at this agent: its history, which may be long, is not read for those.
    if not known:
        return None
    asked, task_id = fingerprint(request), None
    for event in await store.load_history(trace_id):
        data = event["data"]
        if data.get("message_id") != request["message_id"]:
            continue
        if event["kind"] == REMOTE_TASK and data.get("fingerprint") == asked:
            task_id = data.get("task_id")
        elif event["kind"] in _CALL_ENDED and data.get("left_running") is not True:
            task_id = None
    return task_id if task_id in known else None
