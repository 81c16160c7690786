"""The tasks on llama-index-workflows."""

import asyncio
from typing import Any

from pydantic import BaseModel
from workflows import Workflow, step  # type: ignore[import-not-found,unused-ignore]
from workflows.events import Event, StartEvent, StopEvent  # type: ignore[import-not-found,unused-ignore]

from benchmarks.flow.peers.serving import BRANCHES, IO_S, TEXT, Ask, serve


class Item(BaseModel):
    """A validated payload."""

    number: int
    text: str
    tags: list[str]


class Begin(StartEvent):  # type: ignore[misc,unused-ignore]
    """What starts a run."""

    value: Any


class BeginTyped(StartEvent):  # type: ignore[misc,unused-ignore]
    """What starts a run of validated payloads."""

    value: Item


class Second(Event):  # type: ignore[misc,unused-ignore]
    """From the first node to the second."""

    value: Any


class Third(Event):  # type: ignore[misc,unused-ignore]
    """From the second node to the third."""

    value: Any


class SecondTyped(Event):  # type: ignore[misc,unused-ignore]
    """From the first node to the second, validated."""

    value: Item


class ThirdTyped(Event):  # type: ignore[misc,unused-ignore]
    """From the second node to the third, validated."""

    value: Item


class Work(Event):  # type: ignore[misc,unused-ignore]
    """From the source to a branch."""

    value: int


class Part(Event):  # type: ignore[misc,unused-ignore]
    """From a branch to the join."""

    value: int


def _raised(item: Item) -> Item:
    return Item(number=item.number + 1, text=item.text, tags=item.tags)


class Bare(Workflow):  # type: ignore[misc,unused-ignore]
    """Three nodes in a row."""

    @step  # type: ignore[untyped-decorator,unused-ignore]
    async def first(self, event: Begin) -> Second:
        return Second(value=event.value + 1)

    @step  # type: ignore[untyped-decorator,unused-ignore]
    async def second(self, event: Second) -> Third:
        return Third(value=event.value + 1)

    @step  # type: ignore[untyped-decorator,unused-ignore]
    async def third(self, event: Third) -> StopEvent:
        return StopEvent(result=event.value + 1)


class Typed(Workflow):  # type: ignore[misc,unused-ignore]
    """Three nodes in a row, with models."""

    @step  # type: ignore[untyped-decorator,unused-ignore]
    async def first(self, event: BeginTyped) -> SecondTyped:
        return SecondTyped(value=_raised(event.value))

    @step  # type: ignore[untyped-decorator,unused-ignore]
    async def second(self, event: SecondTyped) -> ThirdTyped:
        return ThirdTyped(value=_raised(event.value))

    @step  # type: ignore[untyped-decorator,unused-ignore]
    async def third(self, event: ThirdTyped) -> StopEvent:
        return StopEvent(result=_raised(event.value))


class Waiting(Workflow):  # type: ignore[misc,unused-ignore]
    """Three nodes in a row that wait for I/O."""

    @step  # type: ignore[untyped-decorator,unused-ignore]
    async def first(self, event: Begin) -> Second:
        await asyncio.sleep(IO_S)
        return Second(value=event.value + 1)

    @step  # type: ignore[untyped-decorator,unused-ignore]
    async def second(self, event: Second) -> Third:
        await asyncio.sleep(IO_S)
        return Third(value=event.value + 1)

    @step  # type: ignore[untyped-decorator,unused-ignore]
    async def third(self, event: Third) -> StopEvent:
        await asyncio.sleep(IO_S)
        return StopEvent(result=event.value + 1)


class FanOut(Workflow):  # type: ignore[misc,unused-ignore]
    """One node, eight calls behind it, and their join."""

    @step  # type: ignore[untyped-decorator,unused-ignore]
    async def source(self, event: Begin) -> list[Work]:
        return [Work(value=event.value + 1) for _ in range(BRANCHES)]

    @step(num_workers=BRANCHES)  # type: ignore[untyped-decorator,unused-ignore]
    async def branch(self, event: Work) -> Part:
        return Part(value=event.value + 1)

    @step  # type: ignore[untyped-decorator,unused-ignore]
    async def join(self, parts: list[Part]) -> StopEvent:
        assert len(parts) == BRANCHES
        return StopEvent(result=parts[0].value)


def _asking(workflow: Any, *, typed: bool = False) -> Ask:
    async def ask(number: int) -> int:
        if typed:
            item: Item = await workflow.run(
                start_event=BeginTyped(value=Item(number=number, text=TEXT, tags=["one", "two"]))
            )
            return item.number
        return int(await workflow.run(start_event=Begin(value=number)))

    return ask


if __name__ == "__main__":
    serve(
        {
            "bare": _asking(Bare(timeout=None)),
            "validated": _asking(Typed(timeout=None), typed=True),
            "fan-out": _asking(FanOut(timeout=None)),
            "io": _asking(Waiting(timeout=None)),
        },
        steps={"bare": 3, "validated": 3, "fan-out": 2, "io": 3},
    )
