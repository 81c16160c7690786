"""Successors begin in the order in which they were connected."""

from penguiflow import Context, Node, create, join_k


async def name(message: str, ctx: Context) -> str:
    return ctx.node_name


async def test_successors_that_never_wait_begin_in_the_order_they_were_connected() -> None:
    split, join = Node(name, name="split"), join_k("join", 3)
    branches = [Node(name, name=branch) for branch in ("left", "middle", "right")]

    async with create(split.to(*branches), *(branch.to(join) for branch in branches)) as flow:
        assert await flow.ask("go") == ["left", "middle", "right"]
