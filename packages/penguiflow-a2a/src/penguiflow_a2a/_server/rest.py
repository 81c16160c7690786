"""HTTP+JSON: a path and an HTTP method for each operation."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.operations import Operation, Version
from penguiflow_a2a._protocol.v03_rest import is_v03_rest_message
from penguiflow_a2a._server.callers import Principal
from penguiflow_a2a._server.engine import Engine
from penguiflow_a2a._server.gate import Gate
from penguiflow_a2a._server.http import (
    Disconnected,
    Headers,
    Receive,
    Scope,
    Send,
    headers_of,
    parse_json,
    parse_version,
    query_of,
    read_body,
    require_json,
    respond,
    version_asked_for,
)
from penguiflow_a2a._server.operations import Operations
from penguiflow_a2a._server.rest_paths import last_event_id
from penguiflow_a2a._server.spellings import Spelling, dump, named_too
from penguiflow_a2a._server.streams import send_stream

__all__ = ["Rest"]

logger = logging.getLogger("penguiflow_a2a.server")

_SENDS = (Operation.SEND, Operation.STREAM)


class Rest:
    """The ASGI application behind one path of HTTP+JSON."""

    def __init__(self, gate: Gate, operations: Operations, engine: Engine, methods: Mapping[str, Operation]) -> None:
        self._gate = gate
        self._operations = operations
        self._engine = engine
        self._methods = methods
        self._limits = gate.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = headers_of(scope)
        asked_for = version_asked_for(headers, scope)
        try:
            await self._answer(headers, asked_for, scope, receive, send)
        except ProtocolError as error:
            await _tell(error, headers, asked_for, send)
        except Disconnected:
            return
        except Exception:
            logger.exception("a request failed in the server")
            await _tell(ProtocolError(ErrorKind.INTERNAL_ERROR), headers, asked_for, send)

    async def _answer(self, headers: Headers, asked_for: str, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._methods["GET" if scope["method"] == "HEAD" else scope["method"]]
        principal = await self._gate.admit(scope, headers)
        query = query_of(scope)
        asked = parse_version(asked_for)
        body: Any = {}
        if scope["method"] == "POST":
            body = await self._body(receive, headers)
        version = asked or _version_of(operation, body)
        if operation is Operation.LIST and version == "0.3":
            raise ProtocolError(ErrorKind.METHOD_NOT_FOUND, "A2A 0.3 cannot list tasks; send 'A2A-Version: 1.0'")
        extra = self._gate.activate(operation, headers)
        spelling = self._spelling(operation, version, body, scope["path_params"])
        params = _params(operation, spelling, body, query, scope["path_params"])
        if operation.streams:
            await self._stream(operation, params, principal, spelling, headers, receive, send, extra)
            return
        result = await self._operations.call(operation, params, principal, spelling)
        if operation is Operation.DELETE_PUSH:
            result = b"{}"
        elif operation is Operation.SEND and spelling is Spelling.V03:
            result = named_too(json.loads(result)["kind"], result)
        await respond(send, 200, result, _media_type(headers, version), extra)

    async def _body(self, receive: Receive, headers: Headers) -> Any:
        body = await read_body(receive, headers, self._limits)
        if not body:
            return {}
        require_json(headers)
        value = parse_json(body, self._limits)
        if not isinstance(value, dict):
            raise ProtocolError(ErrorKind.INVALID_PARAMS, "The body must be a JSON object")
        return value

    async def _stream(
        self,
        operation: Operation,
        params: Any,
        principal: Principal,
        spelling: Spelling,
        headers: Headers,
        receive: Receive,
        send: Send,
        extra: list[tuple[bytes, bytes]] | None,
    ) -> None:
        source = await self._operations.open(operation, params, principal, spelling, last_event_id(headers))
        await send_stream(
            source,
            spelling,
            receive,
            send,
            before=b"data: ",
            after=b"\n\n",
            heartbeat_s=self._limits.heartbeat_s,
            slow_reader_s=self._limits.slow_reader_s,
            headers=extra,
            names=spelling is Spelling.V03,
        )

    def _spelling(self, operation: Operation, version: Version, body: Any, path: Mapping[str, str]) -> Spelling:
        if version == "1.0":
            return Spelling.V1
        if operation in _SENDS:
            return Spelling.V03_REST if is_v03_rest_message(body.get("message")) else Spelling.V03
        # Only messages tell how a client of 0.3 writes; the rest is answered as its task was begun.
        begun = self._engine.rest_spelling(path.get("id", ""))
        return Spelling.V03_REST if begun is None else Spelling(begun)


def _version_of(operation: Operation, body: Any) -> Version:
    """Return the version of a request that names none: 0.3, unless its message can only be one of 1.0."""
    message = body.get("message")
    if operation in _SENDS and isinstance(message, dict):
        is_v1 = str(message.get("role", "")).startswith("ROLE_") and "parts" in message and "content" not in message
        return "1.0" if is_v1 else "0.3"
    return "0.3"


def _params(
    operation: Operation, spelling: Spelling, body: Any, query: dict[str, str], path: Mapping[str, str]
) -> dict[str, Any]:
    """Return the parameters of an operation from where HTTP+JSON has them."""
    task_id, config_id = path.get("id"), path.get("config_id")
    params: dict[str, Any]
    if operation in _SENDS or operation is Operation.CANCEL:
        params = dict(body)
    elif operation is Operation.SET_PUSH:
        params = _push_params(body, spelling, task_id or "")
    else:
        params = {**query, **body}
        if "includeArtifacts" in params:
            params["includeArtifacts"] = _flag(params["includeArtifacts"])
    if task_id is not None and operation is not Operation.SET_PUSH:
        params["id"] = task_id
    if operation in (Operation.GET_PUSH, Operation.DELETE_PUSH):
        params.update(taskId=task_id, id=config_id)
    elif operation is Operation.LIST_PUSH:
        params["taskId"] = task_id
    if "tenant" in path:
        params["tenant"] = path["tenant"]
    return params


def _push_params(body: dict[str, Any], spelling: Spelling, task_id: str) -> dict[str, Any]:
    if spelling is Spelling.V1:
        return {**body, "taskId": task_id}
    # The specification of 0.3 has the configuration of a task under `config`, and not all of its clients do.
    config = body["config"] if isinstance(body.get("config"), dict) else body
    inner = config.get("pushNotificationConfig", config)
    named = str(body.get("configId") or "")
    if spelling is Spelling.V03_REST:
        return {"name": f"tasks/{task_id}/pushNotificationConfigs/{named}", "pushNotificationConfig": inner}
    if named and isinstance(inner, dict):
        inner = {"id": named, **inner}
    return {"pushNotificationConfig": inner, "taskId": task_id}


def _flag(text: Any) -> Any:
    return {"true": True, "false": False}.get(text.lower(), text) if isinstance(text, str) else text


def _media_type(headers: Headers, version: Version) -> bytes:
    if version == "0.3":
        return b"application/json"
    accepted = headers.get("accept", "")
    if "application/json" in accepted and "application/a2a+json" not in accepted:
        return b"application/json"
    return b"application/a2a+json"


async def _tell(error: ProtocolError, headers: Headers, asked_for: str, send: Send) -> None:
    version: Version = "0.3" if not asked_for or asked_for.startswith("0.") else "1.0"
    body = error.to_rest()
    if version == "0.3":
        # Where clients of 0.3 look for it.
        body = {**body, "code": error.kind.code, "message": error.message}
    extra = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in error.headers.items()]
    media_type = _media_type(headers, version)
    await respond(send, error.kind.http_status, dump(body), media_type, extra)
