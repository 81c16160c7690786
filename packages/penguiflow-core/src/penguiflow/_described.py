"""The text of exceptions that others wrote."""

from __future__ import annotations

__all__ = ["describe"]


def describe(error: BaseException) -> str:
    """Return the class and text of an exception, whatever its `__str__` does."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as problem:
        return f"{type(error).__name__} (its __str__ raised {type(problem).__name__})"
