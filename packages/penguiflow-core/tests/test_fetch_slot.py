"""A node that waits for the next message of its trace holds up no trace that stands before that message."""

from __future__ import annotations

import asyncio

import pytest

from penguiflow import Context, Node, create


async def relay(name: str, ctx: Context) -> str:
    return name


@pytest.mark.timeout(10)
async def test_a_node_that_pulls_gets_its_message_from_behind_other_traces() -> None:
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

    sender, relayer = Node(send), Node(relay)
    async with create(sender.to(relayer), relayer.to(Node(pull)), queue_maxsize=1) as flow:
        pair = await flow.submit("pair", to=sender)
        await pulling.wait()
        others = [await flow.submit("other", to=relayer) for _ in range(4)]
        filled.set()
        assert await pair.result() == ["first", "second"]
        assert [await other.result() for other in others] == [["other"]] * 4
