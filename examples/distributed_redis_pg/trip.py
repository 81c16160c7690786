"""The flow that every process of this example loads: a trip is quoted by three nodes side by side."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel

from penguiflow import Context, Node, create, join_k


class Trip(BaseModel):
    """Where to, and for how long."""

    city: str
    nights: int


class Quote(BaseModel):
    """What one part of a trip costs."""

    city: str
    part: str
    price: int


class Offer(BaseModel):
    """What the whole trip costs."""

    city: str
    price: int
    parts: list[str]


def _note(ctx: Context) -> None:
    """Say which process works on what, where the example can see it; nothing depends on it."""
    if diary := os.environ.get("TRIP_DIARY"):
        with Path(diary).open("a", encoding="utf-8") as lines:
            lines.write(f"{ctx.node_name} {os.getpid()} {ctx.idempotency_key}\n")


async def plan(trip: Trip, ctx: Context) -> Trip:
    """Begin: the trip goes to all three nodes that quote a part of it."""
    _note(ctx)
    return trip


async def flight(trip: Trip, ctx: Context) -> Quote:
    """Quote the flight."""
    return await _quote(trip, "flight", 100 + 10 * len(trip.city), ctx)


async def hotel(trip: Trip, ctx: Context) -> Quote:
    """Quote the hotel."""
    return await _quote(trip, "hotel", 80 * trip.nights, ctx)


async def train(trip: Trip, ctx: Context) -> Quote:
    """Quote the train to the airport."""
    return await _quote(trip, "train", 25, ctx)


async def _quote(trip: Trip, part: str, price: int, ctx: Context) -> Quote:
    _note(ctx)
    # The idempotency key is what a real booking service would be given: it is the same on every attempt.
    await ctx.emit_chunk(text=f"{part}: {price}", done=True)
    await asyncio.sleep(0.3)
    return Quote(city=trip.city, part=part, price=price)


async def offer(quotes: list[Quote], ctx: Context) -> Offer:
    """Put the quotes together."""
    _note(ctx)
    parts = sorted(quote.part for quote in quotes)
    return Offer(city=quotes[0].city, price=sum(quote.price for quote in quotes), parts=parts)


_first, _last, _join = Node(plan), Node(offer), join_k("quotes", 3)
_parts = [Node(flight), Node(hotel), Node(train)]

flow = create(_first.to(*_parts), *(part.to(_join) for part in _parts), _join.to(_last), name="trip")
