"""Routes requests by their type: `flow.py '{"kind": "convert", "celsius": 20}'`.

A request is one of several models, told apart by their field `kind`; each kind has a node of its name.
"""

import asyncio
import sys
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from pydantic_core import from_json

from penguiflow import Context, FlowError, ModelRegistry, Node, PenguiFlow, create, union_router

SAMPLES = (
    '{"kind": "convert", "celsius": 20}',
    '{"kind": "weekday", "day": "2026-02-28"}',
    '{"kind": "reverse", "text": "niugnep"}',
)


class Convert(BaseModel):
    kind: Literal["convert"]
    celsius: float = Field(ge=-273.15)


class Weekday(BaseModel):
    kind: Literal["weekday"]
    day: date


class Reverse(BaseModel):
    kind: Literal["reverse"]
    text: str


Request = Annotated[Convert | Weekday | Reverse, Field(discriminator="kind")]


async def convert(request: Convert, ctx: Context) -> str:
    return f"{request.celsius:g} °C are {request.celsius * 9 / 5 + 32:g} °F"


async def weekday(request: Weekday, ctx: Context) -> str:
    return f"{request.day} is a {request.day:%A}"


async def reverse(request: Reverse, ctx: Context) -> str:
    return request.text[::-1]


def build_flow() -> tuple[PenguiFlow, ModelRegistry]:
    router = union_router("route", Request)
    registry = ModelRegistry()
    registry.register("convert", Convert, str)
    registry.register("weekday", Weekday, str)
    registry.register("reverse", Reverse, str)
    return create(router.to(Node(convert), Node(weekday), Node(reverse))), registry


async def run(requests: list[str]) -> int:
    """Print an answer or a problem for each request; return how many had one."""
    flow, registry = build_flow()
    problems = 0
    async with flow.run(registry):
        for request in requests:
            try:
                print(await flow.ask(from_json(request)))
            except (FlowError, ValueError) as error:
                print(f"{request}: {error}", file=sys.stderr)
                problems += 1
    return problems


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(run(sys.argv[1:] or list(SAMPLES))) else 0)
