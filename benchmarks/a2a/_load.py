"""The client: sockets and as little else as it takes, so that the server is what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

HEAD = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nA2A-Version: 1.0\r\n"
    b"Connection: %s\r\nContent-Length: %d\r\n\r\n%s"
)


@dataclass(frozen=True)
class Streamed:
    """One stream as it arrived."""

    events: int
    seconds: float
    first_s: float


def request(method: str, text: str, *, keeps: bool) -> bytes:
    """Return a request that sends text."""
    message = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}]}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": message}}).encode()
    return HEAD % (b"keep-alive" if keeps else b"close", len(body), body)


async def send(port: int, count: int, connections: int) -> float:
    """Send so many messages over so many connections, and return the seconds that took."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    wanted = iter(range(count))
    message = request("SendMessage", "Bob", keeps=True)

    async def caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in wanted:
            writer.write(message)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            start = head.index(b"content-length:") + len(b"content-length:")
            body = await reader.readexactly(int(head[start : head.index(b"\r\n", start)]))
            if b'"task"' not in body:
                raise RuntimeError(f"not a task: {body[:300]!r}")

    started = time.perf_counter()
    await asyncio.gather(*(caller(*connection) for connection in opened))
    seconds = time.perf_counter() - started
    for _, writer in opened:
        writer.close()
    return seconds


async def stream(port: int, count: int) -> Streamed:
    """Stream so many pieces over a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.perf_counter()
    writer.write(request("SendStreamingMessage", f"stream {count}", keeps=False))
    events, first_s, end = 0, 0.0, b""
    while chunk := await reader.read(1 << 18):
        # Too short to hold the mark that was counted already, long enough for its first part.
        events += (end[-5:] + chunk).count(b"data: ")
        end = (end + chunk)[-400:]
        if events and not first_s:
            first_s = time.perf_counter() - started
    seconds = time.perf_counter() - started
    writer.close()
    if events < count or b"COMPLETED" not in end:
        raise RuntimeError(f"{events} events for {count} pieces; the last: {end!r}")
    return Streamed(events, seconds, first_s)
