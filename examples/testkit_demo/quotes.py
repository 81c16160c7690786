"""Quotes a price: small orders are priced at once, large ones by a service that fails now and then."""

from pydantic import BaseModel, Field

from penguiflow import Context, ModelRegistry, Node, NodePolicy, PenguiFlow, create, predicate_router

LARGE = 100
CENTS_EACH = 250


class Order(BaseModel):
    pieces: int = Field(gt=0)


class Quote(BaseModel):
    pieces: int
    cents: int


async def receive(order: Order, ctx: Context) -> Order:
    return order


async def list_price(order: Order, ctx: Context) -> Quote:
    return Quote(pieces=order.pieces, cents=order.pieces * CENTS_EACH)


async def negotiate(order: Order, ctx: Context) -> Quote:
    """Stand in for a service elsewhere, which is asked again if it fails."""
    return Quote(pieces=order.pieces, cents=order.pieces * CENTS_EACH * 8 // 10)


async def round_up(quote: Quote, ctx: Context) -> Quote:
    return quote.model_copy(update={"cents": -(-quote.cents // 100) * 100})


def build_flow() -> tuple[PenguiFlow, ModelRegistry]:
    entry = Node(receive)
    route = predicate_router("route", lambda order: "negotiate" if order.pieces >= LARGE else "list_price")
    priced, rounded = Node(list_price), Node(round_up)
    negotiated = Node(negotiate, policy=NodePolicy(max_retries=2, backoff_base=0.01))
    registry = ModelRegistry()
    registry.register("receive", Order, Order)
    registry.register("list_price", Order, Quote)
    registry.register("negotiate", Order, Quote)
    registry.register("round_up", Quote, Quote)
    flow = create(entry.to(route), route.to(priced, negotiated), priced.to(rounded), negotiated.to(rounded))
    return flow, registry
