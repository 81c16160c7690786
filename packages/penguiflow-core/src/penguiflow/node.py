"""A node: an async function with a name, a policy and successors."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

from penguiflow._annotations import takes_payload
from penguiflow._bounds import invalid_bound
from penguiflow.errors import FlowDefinitionError, NodeSignatureError

if TYPE_CHECKING:
    from penguiflow._runtime.context import Context
    from penguiflow._runtime.playbook import Playbook

__all__ = ["Adjacency", "Node", "NodeFunc", "NodePolicy"]

NodeFunc: TypeAlias = Callable[[Any, "Context"], Awaitable[Any]]
"""`async def func(message, ctx)`: what it returns goes to every successor; None goes nowhere."""

_Validate: TypeAlias = Literal["both", "in", "out", "none"]
_OnInterrupted: TypeAlias = Literal["rerun", "fail"]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """How a node is run.

    Attempt n (from 0) that fails is tried again after `backoff_base * backoff_mult ** n` seconds, at most
    `max_backoff`, until `max_retries` retries are used up. The wait holds no worker, and the trace keeps its place.
    """

    validate: _Validate = "both"
    """Which side is validated against the registry's models; without a registry none is."""
    timeout_s: float | None = None
    """Seconds one attempt may take; then it is cancelled and counts as failed."""
    max_retries: int = 0
    """How often a failed attempt is repeated."""
    backoff_base: float = 0.5
    """Seconds before the first retry."""
    backoff_mult: float = 2.0
    """Factor from one retry to the next."""
    max_backoff: float | None = None
    """Longest wait between two attempts, in seconds."""
    max_concurrency: int = 32
    """How many traces the node works on at once; never more than the flow's `queue_maxsize`."""
    ordered: bool = True
    """True: one message of a trace at a time, in order. False: one trace's messages run side by side."""
    on_interrupted: _OnInterrupted = "rerun"
    """What becomes of a node that was running when its process died, in a flow with a journal: run it again with the
    same idempotency key, or fail the trace with `INTERRUPTED`."""

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("validate", self.validate, get_args(_Validate)),
            ("on_interrupted", self.on_interrupted, get_args(_OnInterrupted)),
        ):
            if value not in allowed:
                raise invalid_bound(name, value, "one of " + ", ".join(map(repr, allowed)))
        for name, seconds in (("timeout_s", self.timeout_s), ("max_backoff", self.max_backoff)):
            if seconds is not None and not (_is_number(seconds) and seconds > 0):
                raise invalid_bound(name, seconds, "a positive number of seconds, or None")
        if not (_is_number(self.backoff_base) and 0 <= self.backoff_base < math.inf):
            raise invalid_bound("backoff_base", self.backoff_base, "zero or more seconds")
        if not (_is_number(self.backoff_mult) and 1 <= self.backoff_mult < math.inf):
            raise invalid_bound("backoff_mult", self.backoff_mult, "a number, at least 1")
        if not (_is_whole(self.max_retries) and self.max_retries >= 0):
            raise invalid_bound("max_retries", self.max_retries, "a whole number, zero or more")
        if not (_is_whole(self.max_concurrency) and self.max_concurrency >= 1):
            raise invalid_bound("max_concurrency", self.max_concurrency, "a whole number, at least 1")

    def backoff_s(self, attempt: int) -> float:
        """Return the seconds to wait after failed attempt `attempt`, counted from 0."""
        try:
            delay = self.backoff_base * float(self.backoff_mult) ** attempt
        except OverflowError:
            delay = math.inf if self.backoff_base else 0.0
        return delay if self.max_backoff is None else min(delay, self.max_backoff)


@dataclass(frozen=True, slots=True)
class Adjacency:
    """A node and the nodes its messages go to, as `Node.to` returns it."""

    source: Node
    """The node that emits."""
    targets: tuple[Node, ...]
    """Its successors, in the order in which they are served."""


class Node:
    """One step of a flow: `async def func(message, ctx)` under a name that is unique in its flow.

    A function that annotates its message as anything but a `Message`, for example as a model, is handed the payload
    of a `Message`, and what it returns or emits goes on in that `Message`; `ctx.headers` and `ctx.meta` show the
    rest. Any other function gets what was sent, and what it returns is sent as it is.

    A node belongs to no flow and keeps no state between messages; several flows may share it.

    Raises:
        NodeSignatureError: `func` is not async, or does not take `(message, ctx)`.
    """

    def __init__(
        self,
        func: NodeFunc,
        name: str | None = None,
        *,
        policy: NodePolicy | None = None,
        allow_cycle: bool = False,
        playbooks: Sequence[Playbook] = (),
    ) -> None:
        self.name = name if name is not None else _name_of(func)
        if not isinstance(self.name, str) or not self.name:
            raise FlowDefinitionError(f"node name {self.name!r} is not usable: it must be a non-empty string")
        _check_signature(func, self.name)
        if policy is not None and not isinstance(policy, NodePolicy):
            raise FlowDefinitionError(f"policy of node {self.name!r} must be a NodePolicy, not {policy!r}")
        self.func = func
        self.policy = policy or NodePolicy()
        self.allow_cycle = allow_cycle
        self.takes_payload = takes_payload(func)
        """Whether a `Message` is unwrapped for the function, and wrapped around what it returns."""
        self.playbooks = tuple(playbooks)
        """The flows it hands to `ctx.call_playbook`: for diagrams, nothing checks them."""
        self.kind = "subflow" if self.playbooks else "node"
        """What diagrams draw: "node", "subflow", "router", "join", "remote"."""
        self.emits_incomplete = False
        """For a join: whether it goes on with the parts there are when no more can come."""

    def to(self, *nodes: Node) -> Adjacency:
        """Connect this node to `nodes`: what it returns goes to each of them, in this order."""
        for node in nodes:
            if not isinstance(node, Node):
                raise FlowDefinitionError(
                    f"{self.name!r}.to() takes Node objects, not {node!r}; wrap a function as Node(func)"
                )
        return Adjacency(self, nodes)

    def __repr__(self) -> str:
        return f"Node({self.name!r})"


def _name_of(func: object) -> str:
    while isinstance(func, functools.partial):
        func = func.func
    return getattr(func, "__name__", None) or type(func).__name__


def _check_signature(func: Any, name: str) -> None:
    if not callable(func):
        raise NodeSignatureError(f"node {name!r} needs a function, not {func!r}", node_name=name)
    if not (inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(type(func).__call__)):
        kind = "an async generator" if inspect.isasyncgenfunction(func) else "not async"
        raise NodeSignatureError(
            f"the function of node {name!r} is {kind}: write it as 'async def {_name_of(func)}(message, ctx)' "
            f"(several outputs: 'await ctx.emit(...)'; blocking work: 'await anyio.to_thread.run_sync(...)')",
            node_name=name,
        )
    try:
        inspect.signature(cast(Callable[..., Any], func)).bind(None, None)
    except TypeError as error:
        raise NodeSignatureError(
            f"the function of node {name!r} must take (message, ctx): {error}", node_name=name
        ) from error
