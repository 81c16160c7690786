"""What is left of HTTP between the ASGI server and the operations: headers, bodies within bounds, responses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import pydantic_core

from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.operations import Version
from penguiflow_a2a._server.limits import ServerLimits

__all__ = [
    "Disconnected",
    "Headers",
    "Receive",
    "Scope",
    "Send",
    "check_origin",
    "headers_of",
    "parse_json",
    "parse_version",
    "query_of",
    "read_body",
    "require_json",
    "respond",
    "version_asked_for",
]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = dict[str, str]

# How many times as much as a body may hold is read of one that is larger, and thrown away.
_DISCARDED = 8
_JSON_TYPES = frozenset({"application/json", "application/a2a+json"})


class Disconnected(Exception):
    """The client has left before its request was complete."""


def headers_of(scope: Scope) -> Headers:
    """Return the headers of a request by their names in lower case; those that come twice are joined by commas."""
    headers: Headers = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def query_of(scope: Scope) -> dict[str, str]:
    """Return the query of a request; of a name that comes twice the last value."""
    query = scope.get("query_string", b"")
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}


def version_asked_for(headers: Headers, scope: Scope) -> str:
    """Return the version that a request names, in its header or its query; empty where it names none."""
    named = headers.get("a2a-version")
    if not named and scope.get("query_string"):
        named = next((value for name, value in query_of(scope).items() if name.lower() == "a2a-version"), None)
    return (named or "").strip()


def parse_version(text: str) -> Version | None:
    """Return the version that a text names, None where it is empty.

    Raises:
        ProtocolError: it is none that is spoken here.
    """
    if not text:
        return None
    version = ".".join(text.split(".")[:2])
    if version == "1.0":
        return "1.0"
    if version == "0.3":
        return "0.3"
    message = f"A2A version {text[:20]!r} is not supported; 1.0 and 0.3 are"
    raise ProtocolError(ErrorKind.VERSION_NOT_SUPPORTED, message, metadata={"supportedVersions": "1.0, 0.3"})


def check_origin(headers: Headers, allowed: frozenset[str]) -> None:
    """Refuse a request that a page from elsewhere has made a browser send.

    Raises:
        ProtocolError: the request names an origin that is not allowed.
    """
    origin = headers.get("origin")
    if origin is None or origin in allowed or "*" in allowed:
        return
    raise ProtocolError(ErrorKind.PERMISSION_DENIED, "Requests from this origin are not allowed")


def origin_of(url: str) -> str:
    """Return the origin of a URL, as browsers write it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def require_json(headers: Headers) -> None:
    """Refuse a body that does not say that it is JSON: pages from anywhere may have browsers post other types.

    Raises:
        ProtocolError: it says something else, or nothing.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() not in _JSON_TYPES:
        text = "The body must be application/json or application/a2a+json, and say so in Content-Type"
        raise ProtocolError(ErrorKind.UNSUPPORTED_MEDIA_TYPE, text)


async def read_body(receive: Receive, headers: Headers, limits: ServerLimits) -> bytes:
    """Return the body of a request; one that is far too large is not read to its end.

    Raises:
        ProtocolError: it is too large, or takes too long.
        Disconnected: the client has left.
    """
    length = headers.get("content-length", "")
    declared = int(length) if length.isdigit() else 0
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            if declared <= limits.max_body_bytes:
                body = await _read(receive, limits)
                if body is not None:
                    return body
    except TimeoutError:
        raise ProtocolError(ErrorKind.INVALID_REQUEST, "The request took too long to arrive") from None
    if declared <= _DISCARDED * limits.max_body_bytes:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.body_timeout_s):
                await _discard(receive, limits)
    raise _too_large(limits)


async def _read(receive: Receive, limits: ServerLimits) -> bytes | None:
    """Return a body, or None where it is too large and has more to come than was read."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if not message.get("more_body", False):
            if size > limits.max_body_bytes:
                raise _too_large(limits)
            return b"".join([*pieces, piece]) if pieces else piece
        if size > limits.max_body_bytes:
            return None
        pieces.append(piece)


async def _discard(receive: Receive, limits: ServerLimits) -> None:
    """Let a client come to the end of its body: most read no answer before, and find the connection closed."""
    left = _DISCARDED * limits.max_body_bytes
    while left > 0:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        left -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _too_large(limits: ServerLimits) -> ProtocolError:
    text = f"The request is larger than {limits.max_body_bytes} bytes"
    # Of what is left of the body not all is read, so the connection cannot be used again.
    return ProtocolError(ErrorKind.PAYLOAD_TOO_LARGE, text, headers={"connection": "close"})


def parse_json(body: bytes, limits: ServerLimits) -> Any:
    """Return what JSON text holds.

    Raises:
        ProtocolError: it is none, or nests too deep.
    """
    try:
        value = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        if "recursion limit" in str(error):
            raise _too_deep(limits) from None
        raise ProtocolError(ErrorKind.JSON_PARSE_ERROR) from None
    # Text with fewer opening brackets than that cannot nest deeper.
    if body.count(b"{") + body.count(b"[") > limits.max_json_depth:
        _check_depth(value, limits)
    return value


def _check_depth(value: Any, limits: ServerLimits) -> None:
    level = [value]
    for _ in range(limits.max_json_depth + 1):
        deeper: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                deeper.extend(part for part in each.values() if isinstance(part, dict | list))
            elif isinstance(each, list):
                deeper.extend(part for part in each if isinstance(part, dict | list))
        if not deeper:
            return
        level = deeper
    raise _too_deep(limits)


def _too_deep(limits: ServerLimits) -> ProtocolError:
    return ProtocolError(ErrorKind.INVALID_REQUEST, f"JSON is taken up to {limits.max_json_depth} levels deep")


async def respond(
    send: Send, status: int, body: bytes, media_type: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Send a whole response."""
    known = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": known + headers if headers else known})
    await send({"type": "http.response.body", "body": body})
