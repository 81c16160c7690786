"""Routers, joins and bounded concurrency, built from ordinary nodes."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import anyio
from pydantic import TypeAdapter, ValidationError

from penguiflow._annotations import takes_payload
from penguiflow._bounds import invalid_bound
from penguiflow._routing import check_policy, decide
from penguiflow._runtime.context import Context
from penguiflow._runtime.validation import validation_failed
from penguiflow.errors import FlowDefinitionError, FlowError, FlowErrorCode
from penguiflow.node import Node, NodePolicy
from penguiflow.policies import PolicyLike, Route, RoutingRequest
from penguiflow.types import Message, Payload, merge_meta

__all__ = ["join_k", "map_concurrent", "predicate_router", "union_router"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# Routers and joins pass on what they are given; the nodes before and after them validate.
_PASS_ON = NodePolicy(validate="none")


async def map_concurrent(
    items: Iterable[Item] | AsyncIterable[Item],
    worker: Callable[[Item], Awaitable[Result]],
    *,
    max_concurrency: int = 8,
) -> list[Result]:
    """Apply `worker` to every item, at most `max_concurrency` at once; results stand in the order of the items.

    Items are drawn as workers become free, so a long iterable is never held whole. The first exception cancels the
    other calls and is raised as it is; cancelling the call cancels them all.

    Raises:
        FlowDefinitionError: `max_concurrency` is not positive.
    """
    if max_concurrency < 1:
        raise invalid_bound("max_concurrency", max_concurrency, "at least 1")
    results: dict[int, Result] = {}
    source = _Numbered(items)

    async def serve() -> None:
        async for index, item in source:
            results[index] = await worker(item)

    try:
        async with anyio.create_task_group() as group:
            for _ in range(max_concurrency):
                group.start_soon(serve)
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    return [results[index] for index in sorted(results)]


class _Numbered(AsyncIterator[tuple[int, Item]]):
    """Hands items out one by one to several takers: an async generator would refuse a second one meanwhile."""

    def __init__(self, items: Iterable[Item] | AsyncIterable[Item]) -> None:
        self._items: Iterator[Item] | AsyncIterator[Item]
        self._items = aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        self._lock = anyio.Lock()
        self._count = 0

    async def __anext__(self) -> tuple[int, Item]:
        async with self._lock:
            if isinstance(self._items, AsyncIterator):
                item = await anext(self._items)
            else:
                try:
                    item = next(self._items)
                except StopIteration:
                    raise StopAsyncIteration from None
            self._count += 1
            return self._count - 1, item


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def join_k(name: str, k: int, *, on_incomplete: Literal["error", "emit"] = "error") -> Node:
    """Make a node that waits for `k` messages of a trace and sends them on as one list, in order of arrival.

    It fires once for each run of a trace (in a loop: once a turn); parts that come later are dropped with a
    `core.join_late` event. Messages are put together as one `Message`: payloads as a list, metadata merged with the
    last value winning, the rest from the first part. When no work is left that could send a missing part, the trace
    fails with `JoinIncomplete`, or with `on_incomplete="emit"` the parts there are go on.

    Raises:
        FlowDefinitionError: `k` is not positive.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise invalid_bound("k", k, "a whole number of parts, at least 1")
    if on_incomplete not in ("error", "emit"):
        raise invalid_bound("on_incomplete", on_incomplete, "'error' or 'emit'")
    emit_incomplete = on_incomplete == "emit"

    async def join(message: Payload, ctx: Context) -> Payload:
        parts = await ctx._collect(message, need=k, emit_incomplete=emit_incomplete)
        return None if parts is None else _join(parts)

    node = Node(join, name=name, policy=_PASS_ON)
    node.kind = "join"
    node.emits_incomplete = emit_incomplete
    return node


def _join(parts: list[Payload]) -> Payload:
    if not parts or not all(isinstance(part, Message) for part in parts):
        return parts
    payloads = [part.payload for part in parts]
    return parts[0].model_copy(update={"payload": payloads, "meta": merge_meta(part.meta for part in parts)})


def predicate_router(
    name: str,
    predicate: Callable[[Any], Route | Awaitable[Route]],
    *,
    policy: PolicyLike | None = None,
) -> Node:
    """Make a node that sends each message, unchanged, to the successors that `predicate(message)` names.

    The predicate, plain or async, returns a name, a node, a sequence of them, or None: then the branch ends here. As
    with a node's function, one that annotates its parameter as a payload is handed the payload of a `Message`.
    `policy`, or the one passed to `run(policies={name: ...})`, is asked first; what it leaves open the predicate
    decides.

    Raises:
        FlowDefinitionError: the predicate is not callable, or the policy is none.
    """
    if not callable(predicate):
        raise FlowDefinitionError(f"the predicate of router {name!r} must be a function, not {predicate!r}")

    unwraps = takes_payload(predicate)

    async def propose(message: Payload, ctx: Context) -> Route:
        route = predicate(message.payload if unwraps and isinstance(message, Message) else message)
        return await route if inspect.isawaitable(route) else route

    return _router(name, propose, policy)


def union_router(name: str, union_model: Any, *, policy: PolicyLike | None = None) -> Node:
    """Make a node that routes by which member of a union a message is.

    The payload is validated against `union_model`. It goes to the successor named like the value of its
    discriminator field (`kind` or `type`), or else like its class. A policy is asked as in `predicate_router`.

    Raises:
        FlowDefinitionError: `union_model` is no type that pydantic can validate.
    """
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(union_model)
    except Exception as error:
        raise FlowDefinitionError(f"router {name!r} needs a union of models, not {union_model!r}: {error}") from error
    discriminators = _discriminators(union_model)

    async def propose(message: Payload, ctx: Context) -> Route:
        payload = message.payload if isinstance(message, Message) else message
        try:
            member = adapter.validate_python(payload)
        except ValidationError as error:
            raise validation_failed(ctx.trace_id, name, "in", error) from error
        names = [str(getattr(member, field)) for field in discriminators if hasattr(member, field)]
        names.append(type(member).__name__)
        known = ctx._successors()
        found = next((candidate for candidate in names if candidate in known), None)
        if found is None:
            raise _no_route(ctx, f"no successor is named {' or '.join(map(repr, names))}")
        return found

    return _router(name, propose, policy)


def _discriminators(union_model: Any) -> list[str]:
    declared = [getattr(item, "discriminator", None) for item in getattr(union_model, "__metadata__", ())]
    return [field for field in declared if isinstance(field, str)] or ["kind", "type"]


def _router(name: str, propose: Callable[[Payload, Context], Awaitable[Route]], policy: PolicyLike | None) -> Node:
    if policy is not None:
        check_policy(policy, name)

    async def route(message: Payload, ctx: Context) -> None:
        chosen_policy = ctx._policy(policy)
        if chosen_policy is None:
            target = await propose(message, ctx)
        else:
            target = await _ask_policy(chosen_policy, propose, message, ctx)
        if target is None or (isinstance(target, Sequence) and not target):
            return
        await ctx.emit(message, to=target)

    node = Node(route, name=name, policy=_PASS_ON)
    node.kind = "router"
    return node


async def _ask_policy(
    policy: PolicyLike, propose: Callable[[Payload, Context], Awaitable[Route]], message: Payload, ctx: Context
) -> Route:
    """Ask the policy; the router's own proposal may fail without harm where the policy decides."""
    problem: FlowError | None = None
    proposed: Route = None
    try:
        proposed = await propose(message, ctx)
    except FlowError as error:
        problem = error
    request = RoutingRequest(
        message=message,
        router_name=ctx.node_name,
        trace_id=ctx.trace_id,
        headers=ctx.headers,
        meta=ctx.meta,
        targets=ctx._successors(),
        proposed=proposed,
    )
    target = await decide(policy, request)
    if target is None and problem is not None:
        raise problem
    return target


def _no_route(ctx: Context, why: str) -> FlowError:
    known = ", ".join(map(repr, ctx._successors())) or "none"
    return FlowError(ctx.trace_id, ctx.node_name, FlowErrorCode.NO_ROUTE, f"{why}; the router has: {known}")
