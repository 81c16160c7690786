"""Finds the flow that `module:flow` names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from penguiflow import ModelRegistry, PenguiFlow
from penguiflow_cli._exits import usage
from penguiflow_cli._nearest import nearest

__all__ = ["Target", "load_flow"]


@dataclass(frozen=True)
class Target:
    """A flow, and the models of its nodes where it came with some."""

    flow: PenguiFlow
    registry: ModelRegistry | None


def load_flow(target: str) -> Target:
    """Import `module:name` from the current directory or the path, and return the flow that it names.

    The name is a flow, a pair of a flow and a registry, or a function that makes either; without one, the only flow of
    the module is meant.
    """
    module_name, colon, name = target.partition(":")
    if not module_name or (colon and not name):
        usage(f"{target!r} names no flow; write module:flow, for example agents.support:flow")
    module = _import(module_name)
    if not colon:
        return _only_flow(module)
    value: object = module
    for part in name.split("."):
        if not hasattr(value, part):
            _complain_of_name(module, name)
        value = getattr(value, part)
    return _made(value, target)


def _import(name: str) -> ModuleType:
    # A console script has its own directory first on the path, not the one it is called from.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            _complain_of_module(name, error.name)
        _complain_of_import(name, error)
    except Exception as error:
        _complain_of_import(name, error)
    raise AssertionError("unreachable")


def _complain_of_module(name: str, missing: str) -> None:
    parent, _, last = missing.rpartition(".")
    where = importlib.util.find_spec(parent) if parent else None
    paths = list(where.submodule_search_locations or []) if where else [str(Path.cwd())]
    near = nearest(last, (module.name for module in pkgutil.iter_modules(paths)))
    suggestion = f"{parent}.{near}" if parent and near else near
    hint = f"; did you mean {suggestion}" if suggestion else "; it is looked for in the current directory and the path"
    usage(f"there is no module {missing!r}" + (f", asked for as {name!r}" if name != missing else "") + hint)


def _complain_of_import(name: str, error: Exception) -> None:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" (line {frames[-1].lineno} of {frames[-1].filename})" if len(frames) > 1 else ""
    usage(f"module {name!r} cannot be imported: {type(error).__name__}: {error}{place}")


def _flows_of(module: ModuleType) -> list[str]:
    """Return the names of a module that are flows, or pairs of one and a registry."""
    return [name for name, value in vars(module).items() if not name.startswith("_") and _as_target(value) is not None]


def _makers_of(module: ModuleType) -> list[str]:
    """Return the names of the functions that a module defines itself."""
    functions = inspect.getmembers(module, inspect.isfunction)
    return [name for name, value in functions if value.__module__ == module.__name__ and not name.startswith("_")]


def _complain_of_name(module: ModuleType, name: str) -> None:
    flows = _flows_of(module)
    near = nearest(name, flows) or nearest(name, _makers_of(module))
    hint = f"; did you mean {module.__name__}:{near}" if near else ""
    usage(f"module {module.__name__!r} has no {name!r} (its flows: {', '.join(flows) or 'none'}){hint}")


def _only_flow(module: ModuleType) -> Target:
    flows = _flows_of(module)
    if len(flows) != 1:
        told = f"there is {', '.join(flows)}" if flows else "it has none, so name the function that makes one"
        usage(f"which flow of module {module.__name__!r}? write {module.__name__}:NAME; {told}")
    return _made(getattr(module, flows[0]), f"{module.__name__}:{flows[0]}")


def _made(value: object, target: str) -> Target:
    made = _as_target(value)
    if made is None and callable(value) and not isinstance(value, type):
        try:
            value = value()
        except Exception as error:
            usage(f"{target} could not make its flow: {type(error).__name__}: {error}")
        made = _as_target(value)
        if inspect.iscoroutine(value):
            value.close()
    if made is None:
        usage(
            f"{target} is {_shown(value)}; it should be a flow, a pair (flow, registry), or a function that makes one"
        )
    return made


def _as_target(value: object) -> Target | None:
    match value:
        case PenguiFlow():
            return Target(value, None)
        case (PenguiFlow() as flow, ModelRegistry() | None as registry):
            return Target(flow, registry)
        case _:
            return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
