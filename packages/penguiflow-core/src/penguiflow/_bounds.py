"""The error for a bound that is not usable."""

from __future__ import annotations

from penguiflow.errors import FlowDefinitionError

__all__ = ["invalid_bound"]


def invalid_bound(name: str, value: object, requirement: str) -> FlowDefinitionError:
    """Build the error for a bound that is not usable, naming it and what it has to be."""
    return FlowDefinitionError(f"{name}={value!r} is not usable: it must be {requirement}")
