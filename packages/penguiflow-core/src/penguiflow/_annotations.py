"""Reads from a function whether it takes a `Message` or what a message holds."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from typing import Any

from penguiflow.types import Message

__all__ = ["payload_annotation", "result_annotation", "takes_payload"]

# Names that an annotation which cannot be resolved may mention and still stand for a whole message.
_WHOLE = ("Message", "Any", "object", "Payload")


def takes_payload(func: Any) -> bool:
    """Say whether the function's first parameter is annotated as something other than a `Message`.

    Without an annotation, or with one that a `Message` satisfies (`Any`, `object`, a union with it), it takes what
    it is sent.
    """
    annotation = _first_annotation(func)
    if annotation is inspect.Parameter.empty:
        return False
    if isinstance(annotation, str):
        return not any(name in annotation for name in _WHOLE)
    return not _admits_message(annotation)


def payload_annotation(func: Any) -> Any:
    """Return what the function's first parameter is annotated as, None where that is nothing or a whole message."""
    annotation = _first_annotation(func)
    return None if annotation is inspect.Parameter.empty or not takes_payload(func) else annotation


def result_annotation(func: Any) -> Any:
    """Return what the function is annotated to return, None where that is nothing or a whole message."""
    while isinstance(func, functools.partial):
        func = func.func
    annotated = func if inspect.isroutine(func) else type(func).__call__
    try:
        annotation = typing.get_type_hints(annotated).get("return")
    except Exception:  # as in _first_annotation
        return None
    return None if annotation is None or annotation is type(None) or _admits_message(annotation) else annotation


def _first_annotation(func: Any) -> Any:
    try:
        parameters = iter(inspect.signature(func).parameters.values())
    except (TypeError, ValueError):  # some built-in functions show no signature
        return inspect.Parameter.empty
    first = next(parameters, None)
    if first is None or first.kind is inspect.Parameter.VAR_POSITIONAL:
        return inspect.Parameter.empty
    while isinstance(func, functools.partial):
        func = func.func
    annotated = func if inspect.isroutine(func) else type(func).__call__
    try:
        return typing.get_type_hints(annotated).get(first.name, inspect.Parameter.empty)
    except Exception:  # an annotation may fail in any way: it is arbitrary code, often of names imported for typing
        return first.annotation


def _admits_message(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _admits_message(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return any(_admits_message(member) for member in typing.get_args(annotation))
    if isinstance(annotation, typing.TypeVar) or annotation in (Any, object):
        return True
    cls = origin or annotation
    return isinstance(cls, type) and (issubclass(Message, cls) or issubclass(cls, Message))
