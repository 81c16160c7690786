"""The tasks on pydantic-graph."""

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic_graph import (  # type: ignore[import-not-found,unused-ignore]
    GraphBuilder,
    StepContext,
    reduce_list_append,
)

from benchmarks.flow.peers.serving import BRANCHES, IO_S, TEXT, Ask, serve


class Item(BaseModel):
    """A payload; the graph itself validates none."""

    number: int
    text: str
    tags: list[str]


async def add_one(ctx: StepContext[None, None, int]) -> int:
    """Raise the number."""
    return int(ctx.inputs + 1)


async def add_one_after_io(ctx: StepContext[None, None, int]) -> int:
    """Raise the number after a pause."""
    await asyncio.sleep(IO_S)
    return int(ctx.inputs + 1)


async def add_one_typed(ctx: StepContext[None, None, Item]) -> Item:
    """Raise the number."""
    item = ctx.inputs
    return Item(number=item.number + 1, text=item.text, tags=item.tags)


def _line(kind: type, node: Callable[..., Any]) -> Any:
    builder = GraphBuilder(input_type=kind, output_type=kind)
    steps = [builder.step(node, node_id=name) for name in ("first", "second", "third")]
    for source, target in zip([builder.start_node, *steps], [*steps, builder.end_node], strict=True):
        builder.add(builder.edge_from(source).to(target))
    return builder.build()


def _fan_out() -> Any:
    builder = GraphBuilder(input_type=int, output_type=list[int])
    source = builder.step(add_one, node_id="source")
    branches = [builder.step(add_one, node_id=f"branch{index}") for index in range(BRANCHES)]
    join = builder.join(reduce_list_append, initial_factory=list[int])
    builder.add(
        builder.edge_from(builder.start_node).to(source),
        builder.edge_from(source).to(*branches),
        builder.edge_from(*branches).to(join),
        builder.edge_from(join).to(builder.end_node),
    )
    return builder.build()


def _asking(graph: Any, make: Callable[[int], Any], number_of: Callable[[Any], int]) -> Ask:
    async def ask(number: int) -> int:
        return number_of(await graph.run(inputs=make(number)))

    return ask


def _number_of_parts(parts: list[int]) -> int:
    assert len(parts) == BRANCHES
    return parts[0]


if __name__ == "__main__":
    serve(
        {
            "bare": _asking(_line(int, add_one), int, int),
            "validated": _asking(
                _line(Item, add_one_typed),
                lambda number: Item(number=number, text=TEXT, tags=["one", "two"]),
                lambda item: item.number,
            ),
            "fan-out": _asking(_fan_out(), int, _number_of_parts),
            "io": _asking(_line(int, add_one_after_io), int, int),
        },
        steps={"bare": 3, "validated": 3, "fan-out": 2, "io": 3},
    )
