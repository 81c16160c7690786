"""How operations are asked for, and answers are read: over JSON-RPC and over HTTP+JSON."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar
from urllib.parse import quote
from uuid import uuid4

from penguiflow_a2a._client.exchange import Reply, Request
from penguiflow_a2a._client.failures import AgentMisbehaved, AgentRefused, TaskUnknown
from penguiflow_a2a._client.refusals import read_error, refusal_of_http, refusal_of_rpc, refusal_of_status
from penguiflow_a2a._protocol.codecs import V03, V03_REST, V1, Codec
from penguiflow_a2a._protocol.operations import METHOD_NAMES, Operation, Version
from penguiflow_a2a._protocol.requests import SendMessageRequest
from penguiflow_a2a._protocol.tasks import StreamEvent, Task

__all__ = ["Binding", "HttpJson", "JsonRpc"]

_STREAM = "text/event-stream"
_JSON = "application/json"


class Binding(ABC):
    """One interface of an agent: where it is, and how it is spoken to there."""

    NAME: ClassVar[str]

    def __init__(
        self, agent_url: str, url: str, version: Version, *, tenant: str = "", extensions: tuple[str, ...] = ()
    ) -> None:
        self.agent_url = agent_url
        self.url = url
        self.version = version
        self.tenant = tenant
        self._headers: dict[str, str] = {}
        if version != "0.3":
            self._headers["A2A-Version"] = version
        if extensions:
            name = "X-A2A-Extensions" if version == "0.3" else "A2A-Extensions"
            self._headers[name] = ", ".join(extensions)

    @property
    @abstractmethod
    def codec(self) -> Codec:
        """How objects are spelled here."""

    @abstractmethod
    def send(self, message: SendMessageRequest, *, stream: bool) -> Request:
        """Ask to take a message."""

    @abstractmethod
    def ask(self, operation: Operation, task_id: str, *, after: str | None = None) -> Request:
        """Ask for something about a task: to give it, to cancel it, or to stream it past the event `after`."""

    @abstractmethod
    def unwrap(self, request: Request, reply: Reply, data: bytes | None = None, *, failed: bool = False) -> Any:
        """Return what an answer, or an event of a stream, holds.

        Raises:
            AgentRefused: it holds an error.
            AgentMisbehaved: it holds nothing that the protocol allows.
        """

    def read_event(
        self, request: Request, reply: Reply, data: bytes | None = None, *, failed: bool = False
    ) -> StreamEvent:
        """Return what answers a message, or one event of a stream."""
        wire = self.unwrap(request, reply, data, failed=failed)
        try:
            return self.codec.decode_event(wire)
        except Exception as error:
            raise self._misbehaved(request, error) from error

    def read_task(self, request: Request, reply: Reply) -> Task:
        """Return the task that was asked for."""
        wire = self.unwrap(request, reply)
        try:
            return self.codec.decode_task(wire)
        except Exception as error:
            raise self._misbehaved(request, error) from error

    def _misbehaved(self, request: Request, error: object) -> AgentMisbehaved:
        return AgentMisbehaved(self.agent_url, f"the answer to {request.what} is not as agreed: {str(error)[:300]}")

    def _request(
        self,
        method: str,
        url: str,
        what: str,
        body: dict[str, Any] | None,
        *,
        stream: bool = False,
        after: str | None = None,
        rpc_id: str | None = None,
    ) -> Request:
        headers = {**self._headers, "Accept": f"{_STREAM}, {_JSON}" if stream else _JSON}
        if after is not None:
            headers["Last-Event-ID"] = after
        written = None
        if body is not None:
            headers["Content-Type"] = _JSON
            written = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return Request(method, url, what, written, headers, rpc_id)


class JsonRpc(Binding):
    """JSON-RPC over HTTP: every operation is a POST to one URL."""

    NAME = "JSONRPC"

    @property
    def codec(self) -> Codec:
        """How objects are spelled here."""
        return V03 if self.version == "0.3" else V1

    def send(self, message: SendMessageRequest, *, stream: bool) -> Request:
        """Ask to take a message."""
        params = self.codec.encode_send(message)
        return self._call(Operation.STREAM if stream else Operation.SEND, params)

    def ask(self, operation: Operation, task_id: str, *, after: str | None = None) -> Request:
        """Ask for something about a task."""
        return self._call(operation, {"id": task_id}, after=after)

    def _call(self, operation: Operation, params: dict[str, Any], *, after: str | None = None) -> Request:
        method, rpc_id = METHOD_NAMES[self.version][operation], uuid4().hex
        if self.tenant:
            params = {**params, "tenant": self.tenant}
        body = {"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": params}
        return self._request("POST", self.url, method, body, stream=operation.streams, after=after, rpc_id=rpc_id)

    def unwrap(self, request: Request, reply: Reply, data: bytes | None = None, *, failed: bool = False) -> Any:
        """Return the `result` of a response."""
        if data is None and reply.status >= 400:
            raise self._refused(request, reply)
        response = reply.json(data)
        if not isinstance(response, dict) or response.get("jsonrpc") != "2.0":
            raise self._misbehaved(request, "it is no JSON-RPC 2.0 response")
        if response.get("error") is not None:
            # What could not be read has no id that the answer could bear.
            if response.get("id") not in (request.rpc_id, None):
                raise self._misbehaved(request, f"its id is {response.get('id')!r:.80}, not {request.rpc_id!r}")
            raise refusal_of_rpc(self.agent_url, response["error"], request.what, reply=reply)
        if response.get("id") != request.rpc_id:
            raise self._misbehaved(request, f"its id is {response.get('id')!r:.80}, not {request.rpc_id!r}")
        if "result" not in response:
            raise self._misbehaved(request, "it has neither a result nor an error")
        return response["result"]

    def _refused(self, request: Request, reply: Reply) -> AgentRefused:
        body = read_error(reply)
        if isinstance(body.get("error"), dict):
            return refusal_of_rpc(self.agent_url, body["error"], request.what, reply=reply)
        return refusal_of_http(self.agent_url, request.what, reply)


class HttpJson(Binding):
    """HTTP+JSON: every operation has a path of its own."""

    NAME = "HTTP+JSON"

    @property
    def codec(self) -> Codec:
        """How objects are spelled here."""
        return V03_REST if self.version == "0.3" else V1

    def send(self, message: SendMessageRequest, *, stream: bool) -> Request:
        """Ask to take a message."""
        what = "message:stream" if stream else "message:send"
        return self._request("POST", self._path(what), what, self.codec.encode_send(message), stream=stream)

    def ask(self, operation: Operation, task_id: str, *, after: str | None = None) -> Request:
        """Ask for something about a task."""
        # A task id is chosen by the agent: it must not reach beyond its place in the path.
        path = f"tasks/{quote(task_id, safe='')}"
        if operation is Operation.GET:
            return self._request("GET", self._path(path), "tasks/get", None)
        if operation is Operation.CANCEL:
            return self._request("POST", self._path(f"{path}:cancel"), "tasks/cancel", {})
        return self._request("GET", self._path(f"{path}:subscribe"), "tasks/subscribe", None, stream=True, after=after)

    def _path(self, path: str) -> str:
        steps = [self.url.rstrip("/")]
        if self.version == "0.3":
            # An address that ends in the version already is one of those that name it.
            if not steps[0].endswith("/v1"):
                steps.append("v1")
        elif self.tenant:
            steps.append(quote(self.tenant, safe=""))
        return "/".join([*steps, path])

    def unwrap(self, request: Request, reply: Reply, data: bytes | None = None, *, failed: bool = False) -> Any:
        """Return the body of a response."""
        if data is None and reply.status >= 400:
            raise self._refused(request, reply)
        body = reply.json(data)
        if failed or (isinstance(body, dict) and isinstance(body.get("error"), dict)):
            raise refusal_of_status(self.agent_url, body, request.what, reply=reply)
        return body

    def _refused(self, request: Request, reply: Reply) -> AgentRefused:
        body = read_error(reply)
        if "error" in body:
            return refusal_of_status(self.agent_url, body, request.what, reply=reply)
        # Version 0.3 has no more than the status to tell errors by.
        if reply.status == 404 and request.what.startswith("tasks/"):
            return TaskUnknown(self.agent_url, f"{request.what} was answered with HTTP status 404", http_status=404)
        reason = "TASK_NOT_CANCELABLE" if reply.status == 409 and request.what == "tasks/cancel" else None
        return refusal_of_http(self.agent_url, request.what, reply, reason=reason)
