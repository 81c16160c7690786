"""The nodes' own work, which the flow and its floor both do: the same functions, called on the same values."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from penguiflow import Message, ModelRegistry

STAGES = ("first", "second", "third")
BRANCHES = 8
IO_S = 0.010


class Item(BaseModel):
    """What travels where payloads are validated."""

    number: int
    text: str
    tags: list[str]


async def add_one(value: int, ctx: object) -> int:
    """Return the next number."""
    return value + 1


async def add_one_within(message: Message, ctx: object) -> Message:
    """Return the message around the next number."""
    return message.model_copy(update={"payload": message.payload + 1})


async def add_one_typed(item: Item, ctx: object) -> Item:
    """Return a new model with the next number."""
    return Item(number=item.number + 1, text=item.text, tags=item.tags)


async def add_one_after_io(value: int, ctx: object) -> int:
    """Return the next number after what stands for a call over the network."""
    await asyncio.sleep(IO_S)
    return value + 1


def item(number: int) -> Item:
    """Build a validated payload."""
    return Item(number=number, text="a query of ordinary length, as people type them", tags=["one", "two"])


def message(number: int) -> Message:
    """Build a message, with a trace id of its own."""
    return Message(payload=number)


def registry() -> ModelRegistry:
    """Return the registry that validates both sides of each of the three nodes."""
    models = ModelRegistry()
    for name in STAGES:
        models.register(name, Item, Item)
    return models
