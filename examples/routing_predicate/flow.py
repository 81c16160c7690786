"""Routes messages by a predicate: `flow.py "My invoice is wrong" "The app crashes"`.

A predicate names the nodes a message goes to: one, several, or none.
"""

import asyncio
import re
import sys

from pydantic import BaseModel, Field

from penguiflow import Context, FlowError, ModelRegistry, Node, PenguiFlow, create, predicate_router

SAMPLES = ("My invoice is wrong", "The app crashes on start", "An error, and I want a refund", "Hello there")
WORDS_OF_DESKS = {
    "billing": {"invoice", "refund", "price"},
    "technical": {"crash", "crashes", "error", "slow"},
}


class Ticket(BaseModel):
    text: str = Field(min_length=1, max_length=1000)


class Reply(BaseModel):
    text: str


async def receive(ticket: Ticket, ctx: Context) -> Ticket:
    """Take tickets in: the registry has checked them before this is called."""
    return ticket


def choose_desks(ticket: Ticket) -> list[str]:
    """Name every desk whose words are in the ticket, or else the front desk."""
    words = set(re.findall(r"\w+", ticket.text.lower()))
    return [desk for desk, its_words in WORDS_OF_DESKS.items() if words & its_words] or ["front"]


async def billing(ticket: Ticket, ctx: Context) -> Reply:
    return Reply(text="we look into your payments")


async def technical(ticket: Ticket, ctx: Context) -> Reply:
    return Reply(text="we look into the fault")


async def front(ticket: Ticket, ctx: Context) -> Reply:
    return Reply(text="how can we help?")


def build_flow() -> tuple[PenguiFlow, ModelRegistry]:
    entry, desks = Node(receive), (Node(billing), Node(technical), Node(front))
    router = predicate_router("route", choose_desks)
    registry = ModelRegistry()
    registry.register("receive", Ticket, Ticket)
    for desk in desks:
        registry.register(desk.name, Ticket, Reply)
    return create(entry.to(router), router.to(*desks)), registry


async def run(texts: list[str]) -> None:
    flow, registry = build_flow()
    async with flow.run(registry):
        traces = [(text, await flow.submit({"text": text})) for text in texts]
        for text, trace in traces:
            replies = [f"{desk}: {reply.text}" for desk, reply in await trace.results()]
            print(f"{text!r} -> {'; '.join(replies)}")


def main() -> int:
    try:
        asyncio.run(run(sys.argv[1:] or list(SAMPLES)))
    except FlowError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
