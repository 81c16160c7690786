"""Makes what is exported say that it lives where users import it from."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

__all__ = ["settle_exports"]


def settle_exports(package: str, namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Set `__module__` of exported classes and functions to `package`, so that tracebacks show what users typed.

    A class of a public module whose fields are annotated keeps its own: their types are looked up in that module,
    by pydantic and by `typing.get_type_hints`.
    """
    for name in names:
        exported = namespace[name]
        if not (inspect.isclass(exported) or inspect.isfunction(exported)):
            continue
        private = any(part.startswith("_") for part in exported.__module__.split("."))
        if private or not inspect.isclass(exported) or not vars(exported).get("__annotations__"):
            exported.__module__ = package
