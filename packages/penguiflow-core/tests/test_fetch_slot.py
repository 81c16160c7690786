"""A node that waits for the next message of its trace holds up no trace that stands before that message."""

from __future__ import annotations

import asyncio

import pytest

from penguiflow import Context, Node, create


@pytest.mark.timeout(10)
async def test_a_node_that_pulls_gets_its_message_from_behind_other_traces() -> None:
    pulling, filled = asyncio.Event(), asyncio.Event()

    async def send(name: str, ctx: Context) -> None:
        await ctx.emit("first")
        await filled.wait()
        await ctx.emit("second")

    async def relay(name: str, ctx: Context) -> str:
        return name

    async def pull(name: str, ctx: Context) -> list[str]:
        if name == "other":
            return [name]
        pulling.set()
        return [name, await ctx.fetch()]

    sender, relayer = Node(send), Node(relay)
    flow = create(sender.to(relayer), relayer.to(Node(pull)), queue_maxsize=1)
    async with flow:
        pair = await flow.submit("pair", to=sender)
        await pulling.wait()
        others = [await flow.submit("other", to=relayer) for _ in range(4)]
        filled.set()
        try:
            async with asyncio.timeout(2):
                assert await pair.result() == ["first", "second"]
                assert [await other.result() for other in others] == [["other"]] * 4
        finally:
            await flow.stop(drain=False)
