"""The errors of the protocol: code, reason and HTTP status of each, and how the versions write them."""

from __future__ import annotations

from enum import Enum
from typing import Any

from penguiflow_a2a._protocol._base import Json

__all__ = ["ERROR_DOMAIN", "ErrorKind", "ProtocolError", "error_of_code", "error_of_reason"]

ERROR_DOMAIN = "a2a-protocol.org"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


class ErrorKind(Enum):
    """Every error that the protocol knows: its JSON-RPC code, HTTP status, gRPC status and default text.

    The name of a member is the `reason` of its `google.rpc.ErrorInfo`.
    """

    JSON_PARSE_ERROR = (-32700, 400, "INVALID_ARGUMENT", "Invalid JSON payload")
    INVALID_REQUEST = (-32600, 400, "INVALID_ARGUMENT", "Request payload validation error")
    METHOD_NOT_FOUND = (-32601, 404, "NOT_FOUND", "Method not found")
    INVALID_PARAMS = (-32602, 400, "INVALID_ARGUMENT", "Invalid parameters")
    INTERNAL_ERROR = (-32603, 500, "INTERNAL", "Internal error")
    TASK_NOT_FOUND = (-32001, 404, "NOT_FOUND", "Task not found")
    TASK_NOT_CANCELABLE = (-32002, 400, "FAILED_PRECONDITION", "Task cannot be canceled")
    PUSH_NOTIFICATION_NOT_SUPPORTED = (-32003, 400, "FAILED_PRECONDITION", "Push Notification is not supported")
    UNSUPPORTED_OPERATION = (-32004, 400, "FAILED_PRECONDITION", "This operation is not supported")
    CONTENT_TYPE_NOT_SUPPORTED = (-32005, 400, "INVALID_ARGUMENT", "Incompatible content types")
    INVALID_AGENT_RESPONSE = (-32006, 500, "INTERNAL", "Invalid agent response")
    EXTENDED_AGENT_CARD_NOT_CONFIGURED = (
        -32007,
        400,
        "FAILED_PRECONDITION",
        "Authenticated Extended Card is not configured",
    )
    EXTENSION_SUPPORT_REQUIRED = (-32008, 400, "FAILED_PRECONDITION", "Extension support required")
    VERSION_NOT_SUPPORTED = (-32009, 400, "FAILED_PRECONDITION", "Version not supported")
    # These have no code of their own in the protocol; the codes lie in the range that JSON-RPC leaves to servers.
    UNAUTHENTICATED = (-32051, 401, "UNAUTHENTICATED", "Authentication required")
    PERMISSION_DENIED = (-32052, 403, "PERMISSION_DENIED", "Permission denied")
    RESOURCE_EXHAUSTED = (-32053, 429, "RESOURCE_EXHAUSTED", "Too many requests")
    PAYLOAD_TOO_LARGE = (-32054, 413, "INVALID_ARGUMENT", "Payload too large")
    UNSUPPORTED_MEDIA_TYPE = (-32055, 415, "INVALID_ARGUMENT", "Unsupported media type")
    UNAVAILABLE = (-32056, 503, "UNAVAILABLE", "The server is stopping")

    def __init__(self, code: int, http_status: int, grpc_status: str, text: str) -> None:
        self.code = code
        self.http_status = http_status
        self.grpc_status = grpc_status
        self.text = text


class ProtocolError(Exception):
    """A request failed as the protocol foresees; `kind` says how and `violations` which fields are to blame."""

    def __init__(
        self,
        kind: ErrorKind,
        message: str | None = None,
        *,
        metadata: dict[str, str] | None = None,
        violations: list[tuple[str, str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message or kind.text)
        self.kind = kind
        self.message = message or kind.text
        self.metadata = metadata or {}
        self.violations = violations or []
        """Fields, each with what is wrong with it."""
        self.headers = headers or {}
        """Headers of the HTTP response, such as `Retry-After`."""

    def details(self) -> list[dict[str, Json]]:
        """Return what version 1.0 says about the error beside its code and message."""
        info: dict[str, Any] = {"@type": _ERROR_INFO, "reason": self.kind.name, "domain": ERROR_DOMAIN}
        if self.metadata:
            info["metadata"] = self.metadata
        if not self.violations:
            return [info]
        fields = [{"field": field, "description": text} for field, text in self.violations]
        return [info, {"@type": _BAD_REQUEST, "fieldViolations": fields}]

    def to_json_rpc(self, version: str) -> dict[str, Json]:
        """Return the `error` member of a JSON-RPC response in a version of the protocol."""
        written: dict[str, Json] = {"code": self.kind.code, "message": self.message}
        if version != "0.3":
            written["data"] = self.details()
        elif self.violations:
            written["data"] = [{"field": field, "description": text} for field, text in self.violations]
        return written

    def to_rest(self) -> dict[str, Json]:
        """Return the body of an HTTP response: a `google.rpc.Status`, with the JSON-RPC code of 0.3 in its metadata."""
        status = {
            "code": self.kind.http_status,
            "status": self.kind.grpc_status,
            "message": self.message,
            "details": self.details(),
        }
        return {"error": status}


_BY_CODE = {kind.code: kind for kind in ErrorKind}


def error_of_code(code: int) -> ErrorKind | None:
    """Return which error a JSON-RPC code stands for; None for one that is not known."""
    return _BY_CODE.get(code)


def error_of_reason(reason: str) -> ErrorKind | None:
    """Return which error the `reason` of an ErrorInfo stands for; None for one that is not known."""
    return ErrorKind.__members__.get(reason)
