"""The floor: a JSON endpoint and a stream of Server-Sent Events on Starlette, of the sizes that an A2A server sends."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

IDS = {"taskId": "7900eaf3-43a4-4f6c-a690-8bcc69c8e17f", "contextId": "636cdcb2-6ebc-45c6-ae3d-d2c1da3ad5d4"}


async def answer(request: Request) -> Response:
    """Answer a message with a task, or a stream of pieces."""
    body = await request.json()
    message = body["params"]["message"]
    word, _, count = message["parts"][0]["text"].partition(" ")
    if word == "stream":
        return StreamingResponse(_events(int(count)), media_type="text/event-stream")
    status = {"state": "TASK_STATE_COMPLETED", "timestamp": "2026-11-28T02:24:44.203Z"}
    artifact = {"artifactId": "result", "name": "result", "parts": [{"text": f"Hello {word}"}]}
    history = {**message, "taskId": IDS["taskId"], "contextId": IDS["contextId"]}
    task = {
        "id": IDS["taskId"],
        "contextId": IDS["contextId"],
        "status": status,
        "artifacts": [artifact],
        "history": [history],
    }
    return JSONResponse({"jsonrpc": "2.0", "id": body["id"], "result": {"task": task}})


async def _events(count: int) -> AsyncIterator[bytes]:
    start = (
        b'data: {"jsonrpc":"2.0","id":1,"result":{"artifactUpdate":{"taskId":"%s","contextId":"%s","artifact":'
        b'{"artifactId":"words","metadata":{"penguiflow":{"role":"stream"}},"parts":[{"text":"word %%d "}]},'
        b'"append":true}}}\n\n'
    ) % (IDS["taskId"].encode(), IDS["contextId"].encode())
    for number in range(count):
        yield start % number
    yield b'data: {"jsonrpc":"2.0","id":1,"result":{"statusUpdate":{"status":{"state":"TASK_STATE_COMPLETED"}}}}\n\n'


app = Starlette(routes=[Route("/", answer, methods=["POST"])])
