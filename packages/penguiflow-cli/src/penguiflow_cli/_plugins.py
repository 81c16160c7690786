"""What other packages bring: commands, stores and buses, found by their entry points and imported when used."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast
from urllib.parse import urlsplit

from penguiflow.bus import MessageBus
from penguiflow.errors import FlowError
from penguiflow.state import StateStore
from penguiflow_cli._exits import Exit, fail, usage
from penguiflow_cli._nearest import nearest

__all__ = ["BUSES", "COMMANDS", "EXTRAS_OF_COMMANDS", "STORES", "found", "open_bus", "open_store"]

COMMANDS = "penguiflow.cli"
"""The group of commands: each name is a subcommand, each value a `typer.Typer`."""

STORES = "penguiflow.stores"
"""The group of stores: each name is the scheme of a URL, each value makes a store of one."""

BUSES = "penguiflow.buses"
"""The group of buses, as `STORES`."""

EXTRAS_OF_COMMANDS = {"a2a": "a2a"}
"""What to install for a command that one of our other packages brings."""

# What to install for a scheme that nobody here serves.
_EXTRAS = {
    "sqlite": "state",
    "postgresql": "postgres",
    "postgres": "postgres",
    "redis": "redis",
    "rediss": "redis",
    "valkey": "redis",
    "valkeys": "redis",
}


def found(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, in order."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def open_store(url: str | None) -> StateStore:
    """Make the store that a URL names."""
    return cast(StateStore, _open(STORES, "store", "--state", "PENGUIFLOW_STATE", url))


def open_bus(url: str | None) -> MessageBus:
    """Make the bus that a URL names."""
    return cast(MessageBus, _open(BUSES, "bus", "--bus", "PENGUIFLOW_BUS", url))


def _open(group: str, kind: str, option: str, variable: str, url: str | None) -> object:
    if not url:
        usage(f"which {kind}? name it by {option} URL, or by the environment variable {variable}")
    scheme = urlsplit(url).scheme
    if not scheme:
        usage(f"{option} {url!r} is no URL; write for example sqlite:///flows.db, or redis://localhost:6379")
    known = found(group)
    if scheme not in known:
        _complain_of_scheme(kind, scheme, list(known))
    return _made(known[scheme], kind, url)


def _complain_of_scheme(kind: str, scheme: str, known: list[str]) -> None:
    if scheme in _EXTRAS:
        fail(
            Exit.UNAVAILABLE,
            f"the {kind} of {scheme}:// is not installed; pip install 'penguiflow[{_EXTRAS[scheme]}]'",
        )
    near = nearest(scheme, [*known, *_EXTRAS])
    hint = f"; did you mean {near}://" if near else ""
    usage(f"no installed package serves a {kind} of {scheme}:// (there is: {', '.join(known) or 'none'}){hint}")


def _made(point: EntryPoint, kind: str, url: str) -> object:
    try:
        make: Callable[[str], Any] = point.load()
        return make(url)
    except ImportError as error:
        fail(Exit.UNAVAILABLE, f"the {kind} of {point.name}:// cannot be used: {error}")
    except (FlowError, ValueError) as error:
        usage(f"{url!r} is not usable as a {kind}: {error}")
