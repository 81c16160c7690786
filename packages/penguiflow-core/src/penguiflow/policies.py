"""Routing decided by configuration: a mapping, a callable or an object, passed in when the flow runs."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, runtime_checkable

from penguiflow.errors import FlowDefinitionError
from penguiflow.types import Headers, Payload

if TYPE_CHECKING:
    from penguiflow.node import Node

__all__ = ["DictRoutingPolicy", "PolicyLike", "Route", "RoutingPolicy", "RoutingRequest"]

Route: TypeAlias = "str | Node | Sequence[str | Node] | None"
"""Where a message goes: a successor or several, by name or as nodes; None leaves it to the router."""


@dataclass(frozen=True, slots=True)
class RoutingRequest:
    """What a routing policy is asked: which of `targets` should this message go to?"""

    message: Payload
    """The message as the router got it."""
    router_name: str
    """Which router asks."""
    trace_id: str
    """The trace of the message."""
    headers: Headers
    """Headers of the message, or of the message that started its trace."""
    meta: Mapping[str, Any]
    """Metadata, from the same place."""
    targets: tuple[str, ...]
    """Names of the router's successors."""
    proposed: Route = None
    """What the router would choose without a policy."""


@runtime_checkable
class RoutingPolicy(Protocol):
    """An object that decides for a router; `select` may be async. None keeps the router's own choice."""

    def select(self, request: RoutingRequest) -> Route | Awaitable[Route]:
        """Return where the message goes."""
        ...


PolicyLike: TypeAlias = "RoutingPolicy | Callable[[RoutingRequest], Route | Awaitable[Route]] | Mapping[str, Route]"
"""A `RoutingPolicy`, a function of the request, or a mapping from tenant to target."""


class DictRoutingPolicy:
    """Routes by looking up one property of the message in a mapping.

    `key` names the property: "tenant", "topic" or "priority" of the headers, "meta.<name>", or a function of the
    `RoutingRequest`. What is not in the mapping goes to `default`; None keeps the router's own choice.
    """

    def __init__(
        self,
        mapping: Mapping[str, Route],
        *,
        key: str | Callable[[RoutingRequest], object] = "tenant",
        default: Route = None,
    ) -> None:
        if not isinstance(mapping, Mapping):
            raise FlowDefinitionError(f"a routing policy needs a mapping from {key} to target, not {mapping!r}")
        if isinstance(key, str) and key not in Headers.model_fields and not key.startswith("meta."):
            fields = ", ".join(map(repr, Headers.model_fields))
            raise FlowDefinitionError(f"routing key {key!r} is not usable: use one of {fields}, or 'meta.<name>'")
        self._mapping = dict(mapping)
        self._key = key
        self._default = default

    @classmethod
    def from_json(cls, text: str, **options: Any) -> Self:
        """Build the policy from a JSON object of `{key: target}`.

        Raises:
            FlowDefinitionError: the text is no JSON object.
        """
        try:
            mapping = json.loads(text)
        except ValueError as error:
            raise FlowDefinitionError(f"the routing policy is not JSON: {error}") from error
        return cls(mapping, **options)

    @classmethod
    def from_env(cls, variable: str, **options: Any) -> Self:
        """Build the policy from the JSON object in an environment variable.

        Raises:
            FlowDefinitionError: the variable is not set, or holds no JSON object.
        """
        text = os.environ.get(variable)
        if text is None:
            raise FlowDefinitionError(f"{variable} is not set; put the routing policy there as a JSON object")
        return cls.from_json(text, **options)

    def select(self, request: RoutingRequest) -> Route:
        """Look the message's property up; see the class."""
        return self._mapping.get(self._property(request), self._default)

    def _property(self, request: RoutingRequest) -> str:
        if callable(self._key):
            return str(self._key(request))
        if self._key.startswith("meta."):
            return str(request.meta.get(self._key.removeprefix("meta.")))
        return str(getattr(request.headers, self._key))
