"""Routing by configuration: one flow, several policies."""

from typing import Any

import pytest

from penguiflow import (
    Context,
    DictRoutingPolicy,
    FlowDefinitionError,
    FlowError,
    FlowErrorCode,
    Headers,
    Message,
    Node,
    PenguiFlow,
    RoutingPolicy,
    RoutingRequest,
    UnknownTarget,
    create,
    predicate_router,
    union_router,
)


async def work(message: Any, ctx: Context) -> str:
    return ctx.node_name


faiss, hybrid = Node(work, name="faiss"), Node(work, name="hybrid")


def flow_with(policy: Any = None) -> PenguiFlow:
    return create(predicate_router("route", lambda _: "faiss", policy=policy).to(faiss, hybrid))


async def ask(flow: PenguiFlow, policies: Any = None, **headers: Any) -> Any:
    async with flow.run(policies=policies) as running:
        return await running.ask(Message(payload="q", headers=Headers(**headers), meta={"tier": "gold"}))


def by_topic(request: RoutingRequest) -> str | None:
    return "hybrid" if request.headers.topic == "news" else None


async def by_topic_later(request: RoutingRequest) -> str | None:
    return by_topic(request)


class ByTopic:
    """A policy as an object."""

    def select(self, request: RoutingRequest) -> Node | None:
        return hybrid if by_topic(request) else None


async def test_the_same_flow_routes_differently_under_two_policies() -> None:
    policies = {"a": {"acme": "faiss", "default": "hybrid"}, "b": {"acme": "hybrid", "default": "faiss"}}
    flow = flow_with()

    routed = [await ask(flow, {"route": policies[name]}, tenant="acme") for name in "abab"]

    assert routed == ["faiss", "hybrid", "faiss", "hybrid"]


@pytest.mark.parametrize("policy", [by_topic, by_topic_later, ByTopic()])
async def test_a_policy_may_be_a_function_or_an_object_and_leave_it_to_the_router(policy: Any) -> None:
    assert await ask(flow_with(policy), topic="news") == "hybrid"
    assert await ask(flow_with(policy), topic="sports") == "faiss"


async def test_the_policy_of_the_run_goes_before_that_of_the_router() -> None:
    flow = flow_with({"default": "faiss"})

    assert await ask(flow) == "faiss"
    assert await ask(flow, {"route": {"default": "hybrid"}}) == "hybrid"
    assert await ask(flow) == "faiss"


@pytest.mark.parametrize(
    ("key", "mapping"),
    [
        ("tenant", {"acme": "hybrid"}),
        ("topic", {"news": "hybrid"}),
        ("priority", {"3": "hybrid"}),
        ("meta.tier", {"gold": "hybrid"}),
        (lambda request: request.targets[-1], {"hybrid": "hybrid"}),
    ],
)
async def test_a_mapping_may_look_at_any_property(key: Any, mapping: dict[str, str]) -> None:
    policy = DictRoutingPolicy(mapping, key=key)

    assert await ask(flow_with(policy), tenant="acme", topic="news", priority=3) == "hybrid"
    assert isinstance(policy, RoutingPolicy)


async def test_what_a_mapping_does_not_name_goes_to_its_default() -> None:
    assert await ask(flow_with(DictRoutingPolicy({}, default="hybrid"))) == "hybrid"
    assert await ask(flow_with(DictRoutingPolicy({}))) == "faiss"


async def test_a_policy_is_told_what_it_decides_about() -> None:
    asked: list[RoutingRequest] = []

    async with flow_with(asked.append) as flow:
        await flow.ask(Message(payload="q", trace_id="t", headers=Headers(tenant="acme"), meta={"tier": "gold"}))

    (request,) = asked
    assert (request.router_name, request.trace_id, request.headers.tenant) == ("route", "t", "acme")
    assert (request.meta, request.targets, request.proposed) == ({"tier": "gold"}, ("faiss", "hybrid"), "faiss")
    assert request.message.payload == "q"


async def test_a_policy_decides_where_a_union_router_finds_no_successor() -> None:
    both: list[str | Node] = ["hybrid", faiss]
    flow = create(union_router("route", int | str, policy=lambda _: both).to(faiss, hybrid))
    async with flow:
        results = await (await flow.submit(7)).results()

    assert sorted(value for _, value in results) == ["faiss", "hybrid"]


async def test_a_union_router_whose_policy_leaves_it_open_still_finds_no_route() -> None:
    async with create(union_router("route", int | str, policy=lambda _: None).to(faiss)) as flow:
        with pytest.raises(FlowError, match="no successor is named 'int'; the router has: 'faiss'") as caught:
            await flow.ask(7)

    assert caught.value.code == FlowErrorCode.NO_ROUTE


async def test_a_policy_that_names_no_successor_fails_the_trace() -> None:
    with pytest.raises(UnknownTarget, match="'web' is not a successor of 'route'"):
        await ask(flow_with({"default": "web"}))


async def test_a_policy_may_be_loaded_from_json_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTES", '{"acme": "hybrid"}')

    assert await ask(flow_with(DictRoutingPolicy.from_env("ROUTES")), tenant="acme") == "hybrid"
    assert await ask(flow_with(DictRoutingPolicy.from_json('{"x": "hybrid"}', key="topic")), topic="x") == "hybrid"


def test_a_policy_that_cannot_be_loaded_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUTES", raising=False)
    with pytest.raises(FlowDefinitionError, match="ROUTES is not set"):
        DictRoutingPolicy.from_env("ROUTES")
    with pytest.raises(FlowDefinitionError, match="is not JSON"):
        DictRoutingPolicy.from_json("{")
    with pytest.raises(FlowDefinitionError, match="needs a mapping"):
        DictRoutingPolicy.from_json("[1]")
    with pytest.raises(FlowDefinitionError, match="routing key 'colour' is not usable"):
        DictRoutingPolicy({}, key="colour")


async def test_what_is_no_policy_is_refused_with_its_router() -> None:
    with pytest.raises(FlowDefinitionError, match="the policy of router 'route' is 7"):
        flow_with(7)
    with pytest.raises(FlowDefinitionError, match="the policy of router 'route' is 'faiss'"):
        flow_with().run(policies={"route": "faiss"})  # type: ignore[dict-item]
