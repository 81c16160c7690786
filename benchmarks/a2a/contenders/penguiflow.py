"""A flow of one node, served."""

from __future__ import annotations

from penguiflow import Context, Node, create
from penguiflow_a2a.server import ServerLimits, create_a2a_app, describe


async def act(text: str, ctx: Context) -> str | None:
    """Greet, or stream so many pieces."""
    word, _, count = text.partition(" ")
    if word != "stream":
        return f"Hello {word}"
    for number in range(int(count)):
        await ctx.emit_chunk("words", text=f"word {number} ")
    return None


flow = create(Node(act).to(), name="benchmark")
app = create_a2a_app(flow, card=describe(flow, url="http://127.0.0.1"), limits=ServerLimits(max_tasks_per_owner=20_000))
