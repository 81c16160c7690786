"""What the entry nodes of a flow say that they take, and what the flow is about."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from penguiflow import Node, PenguiFlow

__all__ = ["entry_nodes", "entry_type", "summary"]


def entry_nodes(flow: PenguiFlow) -> list[Node]:
    """Return the nodes that messages from outside go to."""
    return [flow.nodes[name] for name in flow.graph.entries]


def entry_type(flow: PenguiFlow) -> Any:
    """Return the type that the entry nodes annotate their message with; None where they differ or say nothing."""
    found = {_message_type(node) for node in entry_nodes(flow)}
    return found.pop() if len(found) == 1 else None


def _message_type(node: Node) -> Any:
    func = inspect.unwrap(node.func)
    target = func if inspect.isfunction(func) or inspect.ismethod(func) else getattr(func, "__call__", func)  # noqa: B004
    try:
        hints = typing.get_type_hints(target)
        name = next(iter(inspect.signature(node.func).parameters))
    except (NameError, TypeError, ValueError, StopIteration):
        return None
    return hints.get(name)


def summary(flow: PenguiFlow) -> str:
    """Return the first line of the documentation of the first entry node that has any."""
    for node in entry_nodes(flow):
        documented = inspect.getdoc(node.func)
        if documented and not isinstance(node.func, type):
            return documented.strip().splitlines()[0]
    return ""
