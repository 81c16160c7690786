"""The text of exceptions that others wrote."""

from __future__ import annotations

from pydantic import ValidationError

__all__ = ["describe", "describe_without_values"]


def describe(error: BaseException) -> str:
    """Return the class and text of an exception, whatever its `__str__` does."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as problem:
        return f"{type(error).__name__} (its __str__ raised {type(problem).__name__})"


def describe_without_values(error: BaseException) -> str:
    """Return the class and text of an exception, but not the values of a payload that pydantic repeats in it."""
    if isinstance(error, ValidationError):
        return f"ValidationError: {error.error_count()} errors for {error.title}"
    return describe(error)
