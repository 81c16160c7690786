"""An agent for conformance suites: what it does depends on how the id of a message begins.

Run it with `python conformance_agent.py PORT [--card dual|1.0]`. It takes push URLs on this machine, which no other
agent should.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from fastapi import FastAPI

from penguiflow import Context, Node, create
from penguiflow_a2a.server import InputRequired, PushPolicy, Rejected, ServerLimits, create_a2a_app, describe
from penguiflow_a2a.types import AgentSkill, Artifact, Message, Part, Role

Behaviour = Callable[[Context], Awaitable[Any]]

SHORT_S = 0.05
WHILE_S = 1.5
OPEN_S = 4.0
MODES = ("text/plain", "text/*", "image/*", "application/json", "application/octet-stream", "application/pdf")


async def _say_hello(ctx: Context) -> Message:
    return _said("Hello from TCK")


def _making(*parts: Part) -> Behaviour:
    async def make(ctx: Context) -> Artifact:
        await asyncio.sleep(SHORT_S)
        return Artifact(artifact_id="artifact-1", name="output", parts=list(parts))

    return make


async def _reply(ctx: Context) -> Message:
    return _said("Direct message response")


async def _ask(ctx: Context) -> InputRequired:
    return InputRequired("Please provide additional input")


async def _reject(ctx: Context) -> Rejected:
    return Rejected("The task was rejected")


async def _complete(ctx: Context) -> None:
    return None


async def _stream_chunks(ctx: Context) -> None:
    await ctx.emit_chunk("artifact-1", text="chunk-1 ")
    await asyncio.sleep(SHORT_S)
    await ctx.emit_chunk("artifact-1", text="chunk-2", done=True)


async def _stay_open(ctx: Context) -> None:
    await asyncio.sleep(OPEN_S)


async def _work_a_while(ctx: Context) -> InputRequired:
    await asyncio.sleep(WHILE_S)
    return InputRequired("What else can I do for you?")


TEXT = _making(Part(text="Generated text content"))
FILE = _making(Part.of_bytes(b"Hello from TCK", filename="output.txt", media_type="text/plain"))
FILE_URL = _making(Part(url="https://example.com/output.txt", filename="output.txt", media_type="text/plain"))
DATA = _making(Part(data={"key": "value", "count": 42}))

BEHAVIOURS: dict[str, Behaviour] = {
    "tck-complete-task": _say_hello,
    "tck-artifact-text": TEXT,
    "tck-artifact-file-url": FILE_URL,
    "tck-artifact-file": FILE,
    "tck-artifact-data": DATA,
    "tck-message-response": _reply,
    "tck-input-required": _ask,
    "tck-reject-task": _reject,
    "tck-stream-001": TEXT,
    "tck-stream-002": _complete,
    "tck-stream-003": TEXT,
    "tck-stream-ordering-001": TEXT,
    "tck-stream-artifact-text": TEXT,
    "tck-stream-artifact-file": FILE,
    "tck-stream-artifact-chunked": _stream_chunks,
    "test-resubscribe-message-id": _stay_open,
}
# Some begin as others do.
_LONGEST_FIRST = sorted(BEHAVIOURS, key=len, reverse=True)


def _said(text: str) -> Message:
    return Message(message_id="", role=Role.AGENT, parts=[Part(text=text)])


def behaviour_of(message: Message) -> Behaviour:
    """Return what the agent does about a message."""
    found = next((prefix for prefix in _LONGEST_FIRST if message.message_id.startswith(prefix)), None)
    return _work_a_while if found is None else BEHAVIOURS[found]


async def act(message: Message, ctx: Context) -> Any:
    """Do what conformance suites expect after a message with such an id."""
    return await behaviour_of(message)(ctx)


def conformance_app(url: str, card: str = "dual") -> FastAPI:
    """Return the agent as an application that is reached at `url`."""
    flow = create(Node(act, name="conformance").to(), name="conformance")
    skill = AgentSkill(id="conformance", name="Conformance", description=act.__doc__ or "", tags=["conformance"])
    described = describe(
        flow,
        url=url,
        name="PenguiFlow conformance agent",
        description="An agent for A2A conformance suites.",
        version="1.0.0",
        skills=[skill],
        push_notifications=True,
        input_modes=MODES,
        versions=("1.0",) if card == "1.0" else ("1.0", "0.3"),
    )
    return create_a2a_app(
        flow,
        card=described,
        card_format="1.0" if card == "1.0" else "dual",
        limits=ServerLimits(push=PushPolicy(allow_http=True, allow_loopback=True)),
        answers=lambda message: "message" if message.message_id.startswith("tck-message-response") else "task",
    )


def main() -> None:
    """Serve the agent on loopback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--card", choices=("dual", "1.0"), default="dual")
    chosen = parser.parse_args()
    app = conformance_app(f"http://127.0.0.1:{chosen.port}", chosen.card)
    uvicorn.run(app, host="127.0.0.1", port=chosen.port, log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
