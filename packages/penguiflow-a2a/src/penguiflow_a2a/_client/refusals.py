"""What an agent says of an error, however its version and binding write it."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from penguiflow_a2a._client.exchange import Reply
from penguiflow_a2a._client.failures import A2AError, AgentRefused, TaskUnknown
from penguiflow_a2a._protocol.errors import error_of_code

__all__ = ["read_error", "refusal_of_http", "refusal_of_rpc", "refusal_of_status"]

_SAID_CAP = 300
_UNKNOWN_TASK = "TASK_NOT_FOUND"


def refusal_of_rpc(agent_url: str, error: Any, what: str, *, reply: Reply | None = None) -> AgentRefused:
    """Return the `error` member of a JSON-RPC response as an exception."""
    error = error if isinstance(error, dict) else {}
    code = error.get("code")
    code = code if isinstance(code, int) and not isinstance(code, bool) else None
    kind = None if code is None else error_of_code(code)
    reason = _reason(error.get("data")) or (None if kind is None else kind.name)
    said = f"{_text(error.get('message'))} ({code if reason is None else f'{code}, {reason}'})"
    return _refusal(agent_url, f"{what} was refused: {said}", reason, reply, rpc_code=code)


def refusal_of_status(agent_url: str, body: Any, what: str, *, reply: Reply | None = None) -> AgentRefused:
    """Return a `google.rpc.Status`, or what stands in its place over HTTP+JSON, as an exception."""
    status = body.get("error", body) if isinstance(body, dict) else {}
    status = status if isinstance(status, dict) else {"message": status}
    reason = _reason(status.get("details"))
    if reason is None and isinstance(status.get("code"), int):
        kind = error_of_code(status["code"])
        reason = None if kind is None else kind.name
    message = _text(status.get("message") or status.get("detail") or status.get("title"))
    said = message if reason is None else f"{message} ({reason})"
    return _refusal(agent_url, f"{what} was refused: {said}", reason, reply)


def refusal_of_http(agent_url: str, what: str, reply: Reply, *, reason: str | None = None) -> AgentRefused:
    """Return a reply whose status is all that the protocol says of an error, as an exception."""
    hint = "; pass auth= to the transport" if reply.status in (401, 403) else ""
    body = read_error(reply)
    said = body.get("message") or body.get("detail")
    told = f" ({said[:_SAID_CAP]})" if isinstance(said, str) else ""
    return _refusal(agent_url, f"{what} was answered with HTTP status {reply.status}{told}{hint}", reason, reply)


def read_error(reply: Reply) -> dict[str, Any]:
    """Return the body of an error as JSON; empty where it is no object."""
    try:
        body = reply.json()
    except A2AError:
        return {}
    return body if isinstance(body, dict) else {}


def _refusal(
    agent_url: str, message: str, reason: str | None, reply: Reply | None, *, rpc_code: int | None = None
) -> AgentRefused:
    chosen = TaskUnknown if reason == _UNKNOWN_TASK else AgentRefused
    return chosen(
        agent_url,
        message,
        http_status=None if reply is None else reply.status,
        rpc_code=rpc_code,
        reason=reason,
        retry_after_s=None if reply is None else _retry_after_s(reply),
    )


def _text(said: object) -> str:
    return said[:_SAID_CAP] if isinstance(said, str) and said else "no reason was given"


def _reason(details: Any) -> str | None:
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and str(detail.get("@type", "")).endswith("google.rpc.ErrorInfo"):
            reason = detail.get("reason")
            return reason[:100] if isinstance(reason, str) else None
    return None


def _retry_after_s(reply: Reply) -> float | None:
    """Read `Retry-After`: seconds, or a date."""
    value = reply.header("retry-after")
    if value is None:
        return None
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    return None
