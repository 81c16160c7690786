"""Asks routing policies, whatever form they have."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from penguiflow.errors import FlowDefinitionError
from penguiflow.policies import DictRoutingPolicy, PolicyLike, Route, RoutingPolicy, RoutingRequest

__all__ = ["check_policy", "decide"]


async def decide(policy: PolicyLike, request: RoutingRequest) -> Route:
    """Ask a policy of any form; what it does not decide stays as the router proposed."""
    if isinstance(policy, Mapping):
        decision: Any = DictRoutingPolicy(policy).select(request)
    elif isinstance(policy, RoutingPolicy):
        decision = policy.select(request)
    else:
        decision = policy(request)
    if inspect.isawaitable(decision):
        decision = await decision
    return request.proposed if decision is None else decision


def check_policy(policy: object, router_name: str) -> None:
    """Refuse what is no policy, naming the router.

    Raises:
        FlowDefinitionError: `policy` is no mapping, callable or object with `select`.
    """
    if not (isinstance(policy, Mapping | RoutingPolicy) or callable(policy)):
        raise FlowDefinitionError(
            f"the policy of router {router_name!r} is {policy!r}: pass a mapping from tenant to target, a function "
            f"of the RoutingRequest, or an object with select(request)",
            node_name=router_name,
        )
