"""A node that pulls the next message of its trace gets it, however full its inbox is with others."""

from __future__ import annotations

import asyncio

import pytest

from penguiflow import Context, Node, create


@pytest.mark.timeout(10)
async def test_a_node_that_pulls_gets_its_message_past_a_full_inbox() -> None:
    pulling, filled = asyncio.Event(), asyncio.Event()

    async def send(name: str, ctx: Context) -> None:
        await ctx.emit("first")
        await filled.wait()
        await ctx.emit("second")

    async def pull(name: str, ctx: Context) -> list[str]:
        if name == "other":
            return [name]
        pulling.set()
        return [name, await ctx.fetch()]

    async with create(Node(send).to(puller := Node(pull)), queue_maxsize=1) as flow:
        pair = await flow.submit("pair", to="send")
        await pulling.wait()
        other = await flow.submit("other", to=puller)
        filled.set()
        try:
            async with asyncio.timeout(2):
                assert await pair.result() == ["first", "second"]
                assert await other.result() == ["other"]
        finally:
            await flow.stop(drain=False)
