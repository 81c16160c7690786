"""The tasks on langgraph."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found,unused-ignore]
from pydantic import BaseModel

from benchmarks.flow.peers.serving import BRANCHES, IO_S, TEXT, Ask, serve


class Bare(TypedDict):
    """State that is not validated."""

    number: int


class Typed(BaseModel):
    """State that is validated before each node."""

    number: int
    text: str
    tags: list[str]


class Parts(TypedDict):
    """State of the fan-out: the parts are added up."""

    number: int
    parts: Annotated[list[int], operator.add]


async def add_one(state: Bare) -> dict[str, Any]:
    """Raise the number."""
    return {"number": state["number"] + 1}


async def add_one_typed(state: Typed) -> dict[str, Any]:
    """Raise the number."""
    return {"number": state.number + 1}


async def add_one_after_io(state: Bare) -> dict[str, Any]:
    """Raise the number after a pause."""
    await asyncio.sleep(IO_S)
    return {"number": state["number"] + 1}


async def branch(state: Parts) -> dict[str, Any]:
    """Add a part."""
    return {"parts": [state["number"] + 1]}


async def join(state: Parts) -> dict[str, Any]:
    """Refuse to go on with a part missing."""
    assert len(state["parts"]) == BRANCHES
    return {"number": state["parts"][0]}


def _line(state: type, node: Callable[..., Any]) -> Any:
    graph = StateGraph(state)
    names = ["first", "second", "third"]
    for name in names:
        graph.add_node(name, node)
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    return graph.compile()


def _fan_out() -> Any:
    graph = StateGraph(Parts)
    graph.add_node("source", add_one)
    graph.add_node("join", join)
    graph.add_edge(START, "source")
    for index in range(BRANCHES):
        graph.add_node(f"branch{index}", branch)
        graph.add_edge("source", f"branch{index}")
        graph.add_edge(f"branch{index}", "join")
    graph.add_edge("join", END)
    return graph.compile()


def _asking(graph: Any, make: Callable[[int], Any]) -> Ask:
    async def ask(number: int) -> int:
        result: dict[str, Any] = await graph.ainvoke(make(number))
        return int(result["number"])

    return ask


if __name__ == "__main__":
    serve(
        {
            "bare": _asking(_line(Bare, add_one), lambda number: {"number": number}),
            "validated": _asking(
                _line(Typed, add_one_typed), lambda number: Typed(number=number, text=TEXT, tags=["one", "two"])
            ),
            "fan-out": _asking(_fan_out(), lambda number: {"number": number, "parts": []}),
            "io": _asking(_line(Bare, add_one_after_io), lambda number: {"number": number}),
        },
        steps={"bare": 3, "validated": 3, "fan-out": 2, "io": 3},
    )
