"""The command as its users call it, with a plugin that brings stores and buses in memory."""

import asyncio
import importlib
import json
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from penguiflow.bus import InProcBus
from penguiflow.state import InMemoryStateStore
from penguiflow_cli import app

URL = "shelf://here"


class Pf:
    """Calls `pf`, and has the store and the bus that it is pointed to."""

    def __init__(self, shelf: ModuleType) -> None:
        self.shelf = shelf
        self.store: InMemoryStateStore = shelf.open_store(URL)
        self.bus: InProcBus = shelf.open_bus(URL)

    def __call__(self, *arguments: str, status: int = 0, stdin: str | None = None, **environment: str) -> Result:
        """Run the command in this process, and check how it ends."""
        variables = {"PENGUIFLOW_STATE": URL, "PENGUIFLOW_BUS": URL, "TERM": "dumb", "COLUMNS": "200"} | environment
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=variables)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result

    def lines(self, *arguments: str, status: int = 0) -> list[Any]:
        """Run the command, and return the JSON it wrote, line by line."""
        return [json.loads(line) for line in self(*arguments, "--json", status=status).stdout.splitlines()]

    def do(self, work: Any) -> Any:
        """Run a coroutine."""
        return asyncio.run(work)


@pytest.fixture
def pf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pf:
    """Return the command, called from an empty directory."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "plugin"))
    monkeypatch.chdir(tmp_path)
    shelf = importlib.import_module("shelf")
    shelf.stores.clear()
    shelf.buses.clear()
    return Pf(shelf)


FLOW = """
    from penguiflow import Context, Message, ModelRegistry, Node, NodePolicy, PenguiFlow, create


    async def double(number: int, ctx: Context) -> int:
        await ctx.emit_chunk(text="two ")
        await ctx.emit_chunk(text="times", done=True)
        if number < 0:
            raise ValueError("it is negative")
        return 2 * number


    async def add(number: int, ctx: Context) -> int:
        return number + 1


    def make() -> PenguiFlow:
        return create(Node(double).to(Node(add)), name="arithmetic")


    def make_pair() -> tuple[PenguiFlow, ModelRegistry]:
        registry = ModelRegistry()
        for node in ("double", "add"):
            registry.register(node, int, int)
        return make(), registry


    flow = make()
    number = 7


    def broken() -> PenguiFlow:
        raise RuntimeError("no key is set")
"""


@pytest.fixture
def module(tmp_path: Path, pf: Pf) -> str:
    """Write a module with a flow into the current directory, and return its name, which no other test uses."""
    name = f"flows_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(dedent(FLOW), encoding="utf-8")
    return name
