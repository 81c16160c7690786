"""Nodes, their policies, and the checks a flow makes of its shape."""

import functools
from typing import Any

import pytest

from penguiflow import (
    Context,
    CycleError,
    FlowDefinitionError,
    Node,
    NodePolicy,
    NodeSignatureError,
    UnknownTarget,
    create,
)


async def work(message: Any, ctx: Context) -> Any:
    return message


def node(name: str, **options: Any) -> Node:
    return Node(work, name=name, **options)


def test_a_node_is_named_after_its_function() -> None:
    class Callable:
        async def __call__(self, message: Any, ctx: Context) -> Any:
            return message

        async def method(self, message: Any, ctx: Context) -> Any:
            return message

    assert Node(work).name == "work"
    assert Node(functools.partial(work)).name == "work"
    assert Node(Callable()).name == "Callable"
    assert Node(Callable().method).name == "method"
    assert repr(node("mine")) == "Node('mine')"


def plain(message: Any, ctx: Context) -> Any:
    return message


async def too_few(message: Any) -> Any:
    return message


async def too_many(message: Any, ctx: Context, more: int) -> Any:
    return message


async def generates(message: Any, ctx: Context) -> Any:
    yield message


@pytest.mark.parametrize(
    ("func", "said"),
    [
        (plain, "is not async: write it as 'async def plain"),
        (generates, "is an async generator"),
        (too_few, r"must take \(message, ctx\)"),
        (too_many, r"must take \(message, ctx\)"),
        ("work", "needs a function, not 'work'"),
    ],
)
def test_a_function_of_the_wrong_shape_is_refused(func: Any, said: str) -> None:
    with pytest.raises(NodeSignatureError, match=said) as caught:
        Node(func, name="mine")

    assert caught.value.node_name == "mine"


def test_a_name_and_a_policy_have_to_be_what_they_should() -> None:
    with pytest.raises(FlowDefinitionError, match="non-empty string"):
        node("")
    with pytest.raises(FlowDefinitionError, match="must be a NodePolicy"):
        node("mine", policy={"timeout_s": 1})


@pytest.mark.parametrize(
    "option",
    [
        {"validate": "all"},
        {"on_interrupted": "shrug"},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"max_backoff": -1},
        {"backoff_base": -0.1},
        {"backoff_mult": 0.5},
        {"max_retries": -1},
        {"max_concurrency": 0},
    ],
)
def test_a_policy_names_the_bound_that_is_not_usable(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(FlowDefinitionError, match=f"{name}=.* is not usable: it must be"):
        NodePolicy(**option)


def test_back_off_grows_up_to_its_limit() -> None:
    policy = NodePolicy(backoff_base=0.5, backoff_mult=2.0, max_backoff=3.0)

    assert [policy.backoff_s(attempt) for attempt in range(4)] == [0.5, 1.0, 2.0, 3.0]
    assert NodePolicy(max_backoff=60.0).backoff_s(10_000) == 60.0
    assert NodePolicy(backoff_base=0).backoff_s(5) == 0


def test_only_nodes_can_be_connected() -> None:
    with pytest.raises(FlowDefinitionError, match="takes Node objects"):
        node("a").to(work)  # type: ignore[arg-type]
    with pytest.raises(FlowDefinitionError, match="a flow is made of"):
        create(work)  # type: ignore[arg-type]
    with pytest.raises(FlowDefinitionError, match="at least one node"):
        create()


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(FlowDefinitionError, match="two nodes are named 'a'"):
        create(node("a").to(node("a")))


def test_a_cycle_is_shown_with_the_switch_that_allows_it() -> None:
    a, b, c = node("a"), node("b"), node("c")

    with pytest.raises(CycleError, match=r"a → b → c → a .*allow_cycle=True") as caught:
        create(a.to(b), b.to(c), c.to(a))

    assert caught.value.cycle == ["a", "b", "c"]


def test_a_cycle_may_be_allowed_by_a_node_or_by_the_flow() -> None:
    a, b, c = node("a"), node("b"), node("c")
    loop = node("loop", allow_cycle=True)

    assert list(create(a.to(b), b.to(a), allow_cycles=True).nodes) == ["a", "b"]
    assert create(loop.to(c), c.to(loop)).graph.entries == ("loop",)
    with pytest.raises(CycleError, match="a → b → a"):
        create(loop.to(a), a.to(b), b.to(a), c.to(loop))


def test_nodes_keep_the_order_in_which_they_were_connected() -> None:
    a, b, c, d = (node(name) for name in "dbca")

    flow = create(a.to(c), a.to(b, c), b.to(d), c.to(d))

    assert list(flow.nodes) == ["d", "c", "b", "a"]
    assert flow.graph.successors["d"] == ("c", "b")
    assert (flow.graph.entries, flow.graph.exits) == (("d",), ("a",))


@pytest.mark.parametrize("queue_maxsize", [0, -1, True, 1.5, None])
def test_a_queue_needs_a_positive_bound(queue_maxsize: Any) -> None:
    with pytest.raises(FlowDefinitionError, match="queue_maxsize="):
        create(node("a"), queue_maxsize=queue_maxsize)


async def test_a_message_may_go_to_chosen_entries_only() -> None:
    flow = create(node("a"), node("b"))
    async with flow:
        assert await (await flow.submit("x", to=["b"])).results() == [("b", "x")]
        assert await (await flow.submit("x", to=flow.nodes["a"])).results() == [("a", "x")]
        with pytest.raises(UnknownTarget, match="'c' is not a node of the flow"):
            await flow.submit("x", to="c")


async def test_running_refuses_what_it_cannot_use() -> None:
    flow = create(node("a"))
    with pytest.raises(FlowDefinitionError, match="takes a ModelRegistry"):
        flow.run({"a": str})  # type: ignore[arg-type]
    with pytest.raises(FlowDefinitionError, match="no router of flow"):
        flow.run(policies={"a": {"x": "y"}})
    with pytest.raises(FlowDefinitionError, match="a middleware is a function"):
        create(node("a"), middlewares=["log"])
    assert not flow.running


async def test_a_node_knows_its_invocation() -> None:
    seen: dict[str, Any] = {}

    async def look(message: Any, ctx: Context) -> None:
        seen.update(node=ctx.node_name, attempt=ctx.attempt, meta=ctx.meta, tenant=ctx.headers.tenant)
        seen.update(deadline=ctx.deadline_s, trace=ctx.trace_id)

    async with create(Node(look)) as flow:
        trace = await flow.submit("bare")
        await trace.result()

    expected = {"node": "look", "attempt": 0, "meta": {}, "tenant": "default", "deadline": None}
    assert seen == {**expected, "trace": trace.trace_id}
