"""What another package could bring: stores and buses in memory, by name, and a command."""

import typer

from penguiflow.bus import InProcBus
from penguiflow.state import InMemoryStateStore

stores: dict[str, InMemoryStateStore] = {}
buses: dict[str, InProcBus] = {}


def open_store(url: str) -> InMemoryStateStore:
    return stores.setdefault(url, InMemoryStateStore())


def open_bus(url: str) -> InProcBus:
    return buses.setdefault(url, InProcBus(max_deliveries=1))


class Plain:
    """A store that keeps events, and can do no more."""

    def __init__(self) -> None:
        inner = open_store("shelf://plain")
        self.save_event, self.load_history = inner.save_event, inner.load_history
        self.save_remote_binding = inner.save_remote_binding


def open_plain(url: str) -> Plain:
    return Plain()


def refuse(url: str) -> None:
    raise ValueError("it has no path")


greeter = typer.Typer()


@greeter.command()
def greet(name: str) -> None:
    """Greet someone."""
    typer.echo(f"hello {name}")
