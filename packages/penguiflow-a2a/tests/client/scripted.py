"""An agent on a real socket, whose every answer is written by a test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from penguiflow_a2a import A2AClientTransport, A2ATimeouts

HASTY = A2ATimeouts(request_s=10, idle_s=10, call_s=20, cancel_s=10, poll_s=0.02, backoff_s=0.01)
"""Short pauses, for agents that answer at once."""

CARD_PATH = "/.well-known/agent-card.json"


@dataclass
class Talk:
    """One request, and the means to answer it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    @property
    def rpc(self) -> dict[str, Any]:
        """The request as JSON-RPC; empty where it is none."""
        with suppress(ValueError):
            request = json.loads(self.body)
            if isinstance(request, dict):
                return request
        return {}

    @property
    def name(self) -> str:
        """What is asked for: a method of JSON-RPC, or method and path of HTTP."""
        return str(self.rpc.get("method", f"{self.method} {self.path}"))

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int, *headers: str) -> None:
        await self.raw("\r\n".join([f"HTTP/1.1 {status} -", *headers, "", ""]).encode())

    async def json(self, body: Any, *headers: str, status: int = 200) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.head(status, "Content-Type: application/json", f"Content-Length: {len(data)}", *headers)
        await self.raw(data)

    async def result(self, result: Any) -> None:
        """Answer with the result of a JSON-RPC call."""
        await self.json({"jsonrpc": "2.0", "id": self.rpc["id"], "result": result})

    async def error(self, code: int, message: str = "no") -> None:
        """Answer with the error of a JSON-RPC call."""
        await self.json({"jsonrpc": "2.0", "id": self.rpc["id"], "error": {"code": code, "message": message}})

    async def stream(self) -> None:
        """Begin a stream of events; it ends with the connection."""
        await self.head(200, "Content-Type: text/event-stream", "Transfer-Encoding: chunked")

    async def piece(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, result: Any, event_id: str | None = None) -> None:
        """Send an event that holds the result of a JSON-RPC call."""
        data = json.dumps({"jsonrpc": "2.0", "id": self.rpc["id"], "result": result})
        await self.piece((f"id: {event_id}\n" if event_id else "").encode() + f"data: {data}\n\n".encode())

    async def end(self) -> None:
        """End a stream as HTTP does it."""
        await self.raw(b"0\r\n\r\n")

    def cut(self) -> None:
        """Break the connection."""
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has left."""
        with suppress(ConnectionError):
            while await self.reader.read(1024):
                pass


Answer: TypeAlias = Callable[[Talk], Awaitable[None]]


@dataclass
class Scripted:
    """The agent: what it answers to each operation, and what it has heard."""

    answers: dict[str, Answer | list[Answer]]
    url: str = ""
    heard: list[Talk] = field(default_factory=list)
    conversations: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def names(self) -> list[str]:
        """What was asked for, in order, but for the card."""
        return [talk.name for talk in self.heard if not talk.path.endswith(CARD_PATH)]

    def talks(self, name: str) -> list[Talk]:
        return [talk for talk in self.heard if talk.name == name]

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Tasks that the streams make themselves print what cancels them.
        self.conversations.add(asyncio.ensure_future(self.converse(reader, writer)))

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (talk := await hear(reader, writer)) is not None:
                self.heard.append(talk)
                answer = self.answers[talk.name]
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                await answer(talk)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Talk | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, path, _ = head[0].split(" ", 2)
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Talk(method, path, headers, body, writer, reader)


def card(*interfaces: dict[str, str], streaming: bool = True, **fields: Any) -> dict[str, Any]:
    """Return a card of version 1.0; of one interface at the agent's own address, unless others are given."""
    chosen = interfaces or ({"url": "", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},)
    return {"name": "scripted", "supportedInterfaces": list(chosen), "capabilities": {"streaming": streaming}, **fields}


CARD_03 = {
    "name": "older",
    "url": "",
    "protocolVersion": "0.3.0",
    "preferredTransport": "JSONRPC",
    "capabilities": {"streaming": True},
}


def at(agent: Scripted, described: dict[str, Any]) -> dict[str, Any]:
    """Return a card with the addresses that begin with a slash, or are empty, at an agent."""
    placed = json.loads(json.dumps(described))
    for place in [placed, *placed.get("supportedInterfaces", [])]:
        if "url" in place and not str(place["url"]).startswith("http"):
            place["url"] = agent.url + place["url"]
    return dict(placed)


@asynccontextmanager
async def serving(
    answers: dict[str, Any] | None = None, described: dict[str, Any] | None = None
) -> AsyncIterator[Scripted]:
    """Serve an agent on a free port, with a card at the well-known place."""
    agent = Scripted(dict(answers or {}))

    async def give_card(talk: Talk) -> None:
        await talk.json(at(agent, card() if described is None else described))

    agent.answers.setdefault(f"GET {CARD_PATH}", give_card)
    server = await asyncio.start_server(agent.accept, "127.0.0.1", 0)
    agent.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield agent
    finally:
        server.close()
        for conversation in agent.conversations:
            conversation.cancel()
        await asyncio.gather(*agent.conversations, return_exceptions=True)


def sent(payload: Any = "penguins", **fields: Any) -> dict[str, Any]:
    """Return a message as a flow hands it to a transport."""
    message = {"skill": "find", "payload": payload, "trace_id": "t", "message_id": "m-1", "meta": {}}
    return {**message, "deadline_s": None, **fields}


async def collect(agent: Scripted, message: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
    """Call an agent and return all parts of its answer."""
    options = {"timeouts": HASTY, **options}
    async with A2AClientTransport(base_url=agent.url, **options) as transport:
        return [part async for part in transport.stream(agent.url, {}, message or sent())]


def status(state: str, text: str | None = None, task_id: str = "task-1", context_id: str = "ctx-1") -> dict[str, Any]:
    """Return an event of version 1.0: a task came to a state."""
    told: dict[str, Any] = {"state": f"TASK_STATE_{state}"}
    if text is not None:
        told["message"] = {"messageId": "s", "role": "ROLE_AGENT", "parts": [{"text": text}]}
    return {"statusUpdate": {"taskId": task_id, "contextId": context_id, "status": told}}


def text(words: str, *, append: bool = True, last: bool = False, artifact: str = "a", **fields: Any) -> dict[str, Any]:
    """Return an event of version 1.0: more text of an artifact."""
    made = {"artifactId": artifact, "parts": [{"text": words}], **fields}
    update = {"taskId": "task-1", "contextId": "ctx-1", "artifact": made, "append": append, "lastChunk": last}
    return {"artifactUpdate": update}


def task(state: str, *words: str, said: str | None = None) -> dict[str, Any]:
    """Return a task of version 1.0, with one artifact of these words if there are any."""
    event = status(state, said)["statusUpdate"]
    whole = {"id": "task-1", "contextId": "ctx-1", "status": event["status"]}
    if words:
        whole["artifacts"] = [{"artifactId": "a", "parts": [{"text": word} for word in words]}]
    return whole


def streams(*events: Any, ends: bool = True) -> Answer:
    """Answer with a stream of events; one that does not end stays open until the client leaves."""

    async def answer(talk: Talk) -> None:
        await talk.stream()
        for event in events:
            await talk.event(event)
        await (talk.end() if ends else talk.gone())

    return answer


def returns(result: Any) -> Answer:
    """Answer with a result."""

    async def answer(talk: Talk) -> None:
        await talk.result(result)

    return answer


def fails(code: int) -> Answer:
    """Answer with an error."""

    async def answer(talk: Talk) -> None:
        await talk.error(code)

    return answer


def chunks(parts: list[dict[str, Any]]) -> list[str]:
    """Return the texts that came as chunks."""
    return [part["text"] for part in parts if part["kind"] == "chunk" and part["text"]]
