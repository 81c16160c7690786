"""JSON-RPC: one URL for both versions, told apart by the names of their methods."""

from __future__ import annotations

import logging
from math import isfinite
from typing import Any

from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.operations import METHODS, Operation, Version
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
    read_body,
    require_json,
    respond,
    version_asked_for,
)
from penguiflow_a2a._server.operations import Operations
from penguiflow_a2a._server.records import json_string
from penguiflow_a2a._server.rest_paths import last_event_id
from penguiflow_a2a._server.spellings import Spelling, dump
from penguiflow_a2a._server.streams import send_stream

__all__ = ["JsonRpc"]

logger = logging.getLogger("penguiflow_a2a.server")

_JSON = b"application/json"
# Refused before the request is looked into: HTTP says why, besides the body. Any other error is told with 200.
_BY_STATUS = frozenset(
    {
        ErrorKind.UNAUTHENTICATED,
        ErrorKind.PERMISSION_DENIED,
        ErrorKind.RESOURCE_EXHAUSTED,
        ErrorKind.PAYLOAD_TOO_LARGE,
        ErrorKind.UNSUPPORTED_MEDIA_TYPE,
        ErrorKind.UNAVAILABLE,
    }
)


class _Call:
    """One request, as far as it is understood."""

    __slots__ = ("headers", "id", "operation", "params", "version")

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.id = b"null"
        """The id as JSON text."""
        self.version: Version = "1.0"
        self.operation = Operation.SEND
        self.params: Any = None

    def read(self, message: Any, asked_for: str) -> None:
        """Understand a request that asks for a version; for none where that is empty.

        Raises:
            ProtocolError: it is none of JSON-RPC, or its method is not one of this version.
        """
        if not isinstance(message, dict):
            batch = isinstance(message, list)
            text = "Batches are not taken: send one request at a time" if batch else "The request is no JSON object"
            raise ProtocolError(ErrorKind.INVALID_REQUEST, text)
        request_id = message.get("id")
        if type(request_id) is int:
            self.id = b"%d" % request_id
        elif isinstance(request_id, str):
            self.id = json_string(request_id)
        elif type(request_id) is float and isfinite(request_id):
            self.id = dump(request_id)
        elif request_id is not None:
            raise ProtocolError(ErrorKind.INVALID_REQUEST, "id must be a string, a number or null")
        asked = parse_version(asked_for)
        self.version = asked or "0.3"
        if message.get("jsonrpc") != "2.0":
            raise ProtocolError(ErrorKind.INVALID_REQUEST, "jsonrpc must be '2.0'")
        method = message.get("method")
        if not isinstance(method, str) or not method:
            raise ProtocolError(ErrorKind.INVALID_REQUEST, "method must be a string")
        found = METHODS.get(method)
        if found is None:
            raise ProtocolError(ErrorKind.METHOD_NOT_FOUND, f"There is no method {method[:100]!r}")
        self._choose_version(method, found[1], asked)
        self.operation = found[0]
        self.params = message.get("params")
        if self.params is None:
            self.params = {}
        elif not isinstance(self.params, dict):
            raise ProtocolError(ErrorKind.INVALID_PARAMS, "params must be an object")

    def _choose_version(self, method: str, version: Version, asked: Version | None) -> None:
        if asked is not None and asked != version:
            if asked == "0.3":
                text = f"{method} is a method of A2A {version}, and the request asks for {asked}"
                raise ProtocolError(ErrorKind.VERSION_NOT_SUPPORTED, text)
            raise ProtocolError(ErrorKind.METHOD_NOT_FOUND, f"A2A {asked} has no method {method!r}")
        self.version = version


class JsonRpc:
    """The ASGI application behind the JSON-RPC URL."""

    def __init__(self, gate: Gate, operations: Operations) -> None:
        self._gate = gate
        self._operations = operations
        self._limits = gate.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        call = _Call(headers_of(scope))
        try:
            await self._answer(call, scope, receive, send)
        except ProtocolError as error:
            await self._tell(error, call, send)
        except Disconnected:
            return
        except Exception:
            logger.exception("a request failed in the server")
            await self._tell(ProtocolError(ErrorKind.INTERNAL_ERROR), call, send)

    async def _answer(self, call: _Call, scope: Scope, receive: Receive, send: Send) -> None:
        headers, limits = call.headers, self._limits
        principal = await self._gate.admit(scope, headers)
        require_json(headers)
        body = await read_body(receive, headers, limits)
        call.read(parse_json(body, limits), version_asked_for(headers, scope))
        operation = call.operation
        extra = self._gate.activate(operation, headers)
        spelling = Spelling.V1 if call.version == "1.0" else Spelling.V03
        start = b'{"jsonrpc":"2.0","id":%s,"result":' % call.id
        if not operation.streams:
            result = await self._operations.call(operation, call.params, principal, spelling)
            await respond(send, 200, b"%s%s}" % (start, result), _JSON, extra)
            return
        source = await self._operations.open(operation, call.params, principal, spelling, last_event_id(headers))
        await send_stream(
            source,
            spelling,
            receive,
            send,
            before=b"data: " + start,
            after=b"}\n\n",
            heartbeat_s=limits.heartbeat_s,
            slow_reader_s=limits.slow_reader_s,
            headers=extra,
        )

    async def _tell(self, error: ProtocolError, call: _Call, send: Send) -> None:
        kind = error.kind
        status = kind.http_status if kind in _BY_STATUS else 200
        body = b'{"jsonrpc":"2.0","id":%s,"error":%s}' % (call.id, dump(error.to_json_rpc(call.version)))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in error.headers.items()]
        await respond(send, status, body, _JSON, headers)
