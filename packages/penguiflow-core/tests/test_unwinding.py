"""What a node may still do while it unwinds, when its flow is stopped meanwhile."""

import asyncio
import contextlib
import time

import pytest

from penguiflow import Context, FlowError, Message, Node, create


async def test_a_node_that_unwinds_after_a_deadline_gets_its_grace_from_stop() -> None:
    unwound: list[str] = []

    async def holds(message: Message, ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
                unwound.append("clean")

    async with create(Node(holds)) as flow:
        with pytest.raises(FlowError, match="deadline"):
            await flow.ask(Message(payload="x", deadline_s=time.time() + 0.02))

    assert unwound == ["clean"]
