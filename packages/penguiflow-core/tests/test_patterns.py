"""Routers, joins and bounded concurrency: their choices, their bounds, their refusals."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from penguiflow import (
    Context,
    FlowDefinitionError,
    FlowError,
    FlowErrorCode,
    JoinIncomplete,
    Message,
    Node,
    UnknownTarget,
    ValidationFailed,
    create,
    join_k,
    map_concurrent,
    predicate_router,
    union_router,
)


async def work(message: Any, ctx: Context) -> str:
    return ctx.node_name


def nodes(*names: str) -> list[Node]:
    return [Node(work, name=name) for name in names]


async def visited(router: Node, message: Any, *names: str) -> list[str]:
    async with create(router.to(*nodes(*names))) as flow:
        return [value for _, value in await (await flow.submit(message)).results()]


class Gauge:
    """Counts how many calls run at once, and lets them go when told to."""

    def __init__(self) -> None:
        self.running = self.highest = 0

    async def work(self, item: int) -> int:
        self.running += 1
        self.highest = max(self.highest, self.running)
        for _ in range(item % 3 + 1):
            await asyncio.sleep(0)
        self.running -= 1
        return item * item


async def test_results_stand_in_the_order_of_the_items_and_the_bound_holds() -> None:
    gauge, together = Gauge(), asyncio.Barrier(5)

    async def worker(item: int) -> int:
        async with together:
            return await gauge.work(item)

    assert await map_concurrent(range(40), worker, max_concurrency=5) == [item * item for item in range(40)]
    assert gauge.highest <= 5


async def test_items_are_drawn_as_workers_become_free() -> None:
    gauge, drawn = Gauge(), 0

    def count() -> Iterator[int]:
        nonlocal drawn
        for item in range(30):
            drawn += 1
            assert drawn - 4 <= item + 1
            yield item

    async def count_later() -> AsyncIterator[int]:
        for item in count():
            await asyncio.sleep(0)
            yield item

    assert len(await map_concurrent(count_later(), gauge.work, max_concurrency=4)) == 30
    assert await map_concurrent([], gauge.work) == []


async def test_the_first_exception_cancels_the_other_calls_and_is_raised_as_it_is() -> None:
    cancelled: list[int] = []

    async def worker(item: int) -> int:
        if item == 3:
            raise LookupError("item 3")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    with pytest.raises(LookupError, match="item 3"):
        await map_concurrent(range(10), worker, max_concurrency=4)

    assert sorted(cancelled) == [0, 1, 2]


async def test_an_iterable_that_breaks_is_raised_as_it_is() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        await map_concurrent(broken(), Gauge().work)


@pytest.mark.parametrize("max_concurrency", [0, -1])
async def test_concurrency_has_to_be_positive(max_concurrency: int) -> None:
    with pytest.raises(FlowDefinitionError, match="max_concurrency="):
        await map_concurrent([1], Gauge().work, max_concurrency=max_concurrency)


async def choose_later(message: Any) -> str:
    return "b"


@pytest.mark.parametrize(
    ("predicate", "names"),
    [
        (lambda _: "b", ["b"]),
        (choose_later, ["b"]),
        (lambda _: ["c", "a"], ["c", "a"]),
        (lambda _: None, []),
        (lambda _: [], []),
    ],
)
async def test_a_predicate_names_one_successor_several_or_none(predicate: Any, names: list[str]) -> None:
    assert sorted(await visited(predicate_router("route", predicate), "x", "a", "b", "c")) == sorted(names)


async def test_a_predicate_may_return_a_node_and_sees_the_message_as_it_is() -> None:
    seen: list[Any] = []
    a, b = nodes("a", "b")

    def choose(message: Any) -> Node:
        seen.append(message)
        return b

    message = Message(payload={"kind": "x"})
    async with create(predicate_router("route", choose).to(a, b)) as flow:
        assert await flow.ask(message) == "b"

    assert seen == [message]


async def test_a_predicate_that_fails_or_misses_fails_the_trace() -> None:
    with pytest.raises(FlowError, match="KeyError: 'kind'") as caught:
        await visited(predicate_router("route", lambda message: message["kind"]), {}, "a")
    with pytest.raises(UnknownTarget, match=r"'z' is not a successor of 'route' \(there is: 'a'\)"):
        await visited(predicate_router("route", lambda _: "z"), {}, "a")

    assert (caught.value.code, caught.value.node_name) == (FlowErrorCode.NODE_EXCEPTION, "route")


class Web(BaseModel):
    """A question to the web."""

    kind: Literal["web"] = "web"
    url: str


class Sql(BaseModel):
    """A question to a database."""

    kind: Literal["sql"] = "sql"
    table: str


class Plain(BaseModel):
    """A question without a discriminator."""

    text: str


class Sweet(BaseModel):
    """A question under another discriminator."""

    flavour: Literal["sweet"] = "sweet"


class Salty(BaseModel):
    """The other flavour."""

    flavour: Literal["salty"] = "salty"


@pytest.mark.parametrize(
    ("union", "message", "name"),
    [
        (Web | Sql, Web(url="u"), "web"),
        (Annotated[Web | Sql, Field(discriminator="kind")], {"kind": "sql", "table": "t"}, "sql"),
        (Web | Plain, Message(payload=Plain(text="x")), "Plain"),
        (Annotated[Sweet | Salty, Field(discriminator="flavour")], Sweet(), "sweet"),
    ],
)
async def test_a_union_router_goes_by_discriminator_or_else_by_class(union: Any, message: Any, name: str) -> None:
    assert await visited(union_router("route", union), message, "web", "sql", "Plain", "sweet") == [name]


async def test_a_union_router_refuses_what_is_no_member_or_has_no_successor() -> None:
    with pytest.raises(ValidationFailed) as caught:
        await visited(union_router("route", Web | Sql), {"kind": "ftp"}, "web")
    with pytest.raises(FlowError, match="no successor is named 'sql' or 'Sql'; the router has: 'web'") as missed:
        await visited(union_router("route", Web | Sql), Sql(table="t"), "web")

    assert (caught.value.stage, caught.value.node_name) == ("in", "route")
    assert missed.value.code == FlowErrorCode.NO_ROUTE


async def test_a_discriminator_goes_before_the_class() -> None:
    assert await visited(union_router("route", Web | Sql), Web(url="u"), "Web", "web") == ["web"]
    assert await visited(union_router("route", Web | Sql), Web(url="u"), "Web") == ["Web"]


def test_routers_and_joins_refuse_what_they_cannot_use() -> None:
    with pytest.raises(FlowDefinitionError, match="the predicate of router 'route' must be a function"):
        predicate_router("route", "web")  # type: ignore[arg-type]
    with pytest.raises(FlowDefinitionError, match="router 'route' needs a union of models"):
        union_router("route", "no such type")
    with pytest.raises(FlowDefinitionError, match="on_incomplete='drop'"):
        join_k("join", 2, on_incomplete="drop")  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [0, -1, True, 1.5, "2", None])
def test_a_join_needs_a_positive_count(k: Any) -> None:
    with pytest.raises(FlowDefinitionError, match=r"k=.* is not usable"):
        join_k("join", k)


async def test_a_join_of_messages_and_bare_values_keeps_them_as_they_are() -> None:
    async def mixed(message: Any, ctx: Context) -> None:
        await ctx.emit(Message(payload=1))
        await ctx.emit(2)

    async with create(Node(mixed).to(join_k("join", 2))) as flow:
        first, second = await flow.ask("x")

    assert (first.payload, second) == (1, 2)


async def test_a_join_that_gets_nothing_is_not_missed_and_one_that_gets_too_little_is() -> None:
    async def send(count: int, ctx: Context) -> None:
        for number in range(count):
            await ctx.emit(number)

    async with create(Node(send).to(join_k("join", 3))) as flow:
        assert await flow.ask(0) is None
        with pytest.raises(JoinIncomplete) as caught:
            await flow.ask(2)

    assert (caught.value.have, caught.value.need, caught.value.node_name) == (2, 3, "join")


def test_routers_and_joins_tell_diagrams_what_they_are() -> None:
    kinds = [predicate_router("a", str).kind, union_router("b", int | str).kind, join_k("c", 1).kind]

    assert kinds == ["router", "router", "join"]
