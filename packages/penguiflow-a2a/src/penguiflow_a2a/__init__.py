"""Flows that call A2A agents, and flows that are A2A agents."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penguiflow_a2a._outcomes import InputRequired, Rejected
    from penguiflow_a2a.client import (
        A2AClientTransport,
        A2AError,
        A2ATimeouts,
        AgentElsewhere,
        AgentIncompatible,
        AgentMisbehaved,
        AgentRefused,
        AgentTooSlow,
        AgentUnreachable,
        AnswerLimits,
        AnswerTooLarge,
        MessageInDoubt,
        TaskUnknown,
    )

__all__ = [
    "A2AClientTransport",
    "A2AError",
    "A2ATimeouts",
    "AgentElsewhere",
    "AgentIncompatible",
    "AgentMisbehaved",
    "AgentRefused",
    "AgentTooSlow",
    "AgentUnreachable",
    "AnswerLimits",
    "AnswerTooLarge",
    "InputRequired",
    "MessageInDoubt",
    "Rejected",
    "TaskUnknown",
]

_ELSEWHERE = dict.fromkeys(("InputRequired", "Rejected"), "penguiflow_a2a._outcomes")
"""The module of each name that is not of the client."""


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: who serves agents needs no HTTP client, nor the other way round."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    exported = getattr(import_module(_ELSEWHERE.get(name, "penguiflow_a2a.client")), name)
    globals()[name] = exported
    return exported


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
