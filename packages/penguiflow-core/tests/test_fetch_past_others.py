"""A node that pulls the next message of its trace gets it, however many messages of other traces stand before it."""

from __future__ import annotations

import asyncio

import pytest

from penguiflow import Context, Node, PenguiFlow, create


class Pair:
    """A sender of two messages, and a node that pulls the second while it handles the first."""

    def __init__(self) -> None:
        self.pulling, self.filled = asyncio.Event(), asyncio.Event()
        self.sender, self.relay, self.puller = (
            Node(self._send, "send"),
            Node(self._relay, "relay"),
            Node(self._pull, "pull"),
        )

    async def _send(self, name: str, ctx: Context) -> None:
        await ctx.emit("first")
        await self.filled.wait()
        await ctx.emit("second")

    async def _relay(self, name: str, ctx: Context) -> str:
        return name

    async def _pull(self, name: str, ctx: Context) -> list[str]:
        if name == "other":
            return [name]
        self.pulling.set()
        return [name, await ctx.fetch()]

    async def check(self, flow: PenguiFlow, crowded: Node, others: int) -> None:
        """Crowd a node with other traces before the second message is sent; everything still ends."""
        async with flow:
            pair = await flow.submit("pair", to=self.sender)
            await self.pulling.wait()
            crowd = [await flow.submit("other", to=crowded) for _ in range(others)]
            self.filled.set()
            assert await pair.result() == ["first", "second"]
            assert [await other.result() for other in crowd] == [["other"]] * others


@pytest.mark.timeout(10)
async def test_a_node_that_pulls_gets_its_message_past_a_full_inbox() -> None:
    pair = Pair()
    await pair.check(create(pair.sender.to(pair.puller), queue_maxsize=1), pair.puller, others=1)


@pytest.mark.timeout(10)
async def test_a_node_that_pulls_gets_its_message_from_behind_other_traces() -> None:
    pair = Pair()
    flow = create(pair.sender.to(pair.relay), pair.relay.to(pair.puller), queue_maxsize=1)
    await pair.check(flow, pair.relay, others=4)
