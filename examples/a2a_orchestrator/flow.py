"""A main agent that calls two agents over A2A and streams to its client: `flow.py [TOPIC] [--cancel-after WORDS]`.

Each agent is a flow behind a server of its own. What the writer streams comes through the main agent word by word, and
whoever cancels the main agent cancels the agents that work for it.
"""

import argparse
import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import uvicorn

from penguiflow import Context, FlowEvent, InMemoryStateStore, Message, Node, PenguiFlow, RemoteNode, create
from penguiflow.errors import FlowError, TraceCancelled
from penguiflow_a2a import A2AClientTransport
from penguiflow_a2a.server import create_a2a_app, describe

WORD_S = 0.03
"""How long the writer below takes for a word."""

FACTS = {
    "penguins": ["they cannot fly", "they swim at 36 km/h", "they drink salt water"],
    "whales": ["they sing", "they sleep with half of their brain"],
}


async def look_up(topic: str, ctx: Context) -> list[str]:
    """Knows facts about animals of the sea."""
    if topic not in FACTS:
        raise FlowError(code="UNKNOWN_TOPIC", message=f"nothing is known about {topic}; ask for {', '.join(FACTS)}")
    return FACTS[topic]


async def write(facts: list[str], ctx: Context) -> str:
    """Makes a text of facts, one word at a time, as a model does."""
    words = f"Did you know? {'; '.join(facts).capitalize()}.".split()
    for word in words:
        await asyncio.sleep(WORD_S)
        await ctx.emit_chunk(text=f"{word} ", done=word is words[-1])
    return " ".join(words)


def tell_of_cancellation(event: FlowEvent) -> None:
    """Show on the agent's side that its work was stopped."""
    if event.event_type == "cancel_end":
        print("[writer] my task was cancelled", flush=True)


@asynccontextmanager
async def agent(flow: PenguiFlow) -> AsyncIterator[str]:
    """Serve a flow as an A2A agent on a free port, and give its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = create_a2a_app(flow, card=describe(flow, url=url))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield url
    finally:
        server.should_exit = True
        await serving


def main_agent(transport: A2AClientTransport, librarian: str, writer: str, store: InMemoryStateStore) -> PenguiFlow:
    """Build the flow that has one agent look up what another one writes about."""
    facts = RemoteNode("facts", transport=transport, skill="look_up", agent_url=librarian)
    text = RemoteNode("text", transport=transport, skill="write", agent_url=writer)
    return create(facts.to(text), name="main", state_store=store)


async def answer(flow: PenguiFlow, topic: str, cancel_after: int | None) -> None:
    """Stream the answer to the client, which is the terminal here; it may lose its patience."""
    trace = await flow.submit(Message(payload=topic, trace_id="question"))
    words = 0
    async for chunk in trace.chunks():
        print(chunk.text, end="\n" if chunk.done else "", flush=True)
        words += 1
        if words == cancel_after:
            print("… that will do", flush=True)
            await trace.cancel()
    result = await trace.result()
    print(f"[client] the answer has {len(result.payload.split())} words")


async def run(topic: str, cancel_after: int | None) -> int:
    """Start the agents, ask the main agent, and stop everything."""
    store, status = InMemoryStateStore(), 0
    async with AsyncExitStack() as started:
        librarian = await started.enter_async_context(agent(create(Node(look_up), name="librarian")))
        writing = create(Node(write), name="writer", on_event=tell_of_cancellation)
        writer = await started.enter_async_context(agent(writing))
        transport = A2AClientTransport(base_url=librarian, allow_origins=[writer])
        await started.enter_async_context(transport)
        flow = await started.enter_async_context(main_agent(transport, librarian, writer, store))
        try:
            await answer(flow, topic, cancel_after)
        except TraceCancelled:
            print("[client] cancelled")
        except FlowError as error:
            print(f"[client] {error}", file=sys.stderr)
            status = 1
        for task in await store.load_remote_bindings("question"):
            print(f"[main] task {task['task_id']} at {task['agent_url']}")
    return status


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Ask a main agent that calls two others.")
    parser.add_argument("topic", nargs="?", default="penguins")
    parser.add_argument("--cancel-after", type=int, metavar="WORDS", help="cancel after so many words")
    arguments = parser.parse_args()
    return asyncio.run(run(arguments.topic, arguments.cancel_after))


if __name__ == "__main__":
    sys.exit(main())
