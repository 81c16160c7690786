"""`pf a2a serve`, as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from penguiflow_a2a._cli import load

FLOW = '''
from penguiflow import Node, create


async def greet(text: str, ctx) -> str:
    """Greets."""
    return f"Hello {text}"


def make():
    return create(Node(greet).to(), name="greeter")


flow = make()
'''


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("name", ["flow", "make"])
async def test_a_flow_is_served_from_the_command_line_until_it_is_stopped(tmp_path: Path, name: str) -> None:
    (tmp_path / "greeter.py").write_text(FLOW)
    port = free_port()
    program = "from penguiflow_a2a._cli import app; app()"
    serve = ("serve", f"greeter:{name}", "--port", str(port), "--card", "1.0")
    running = await asyncio.create_subprocess_exec(sys.executable, "-c", program, *serve, cwd=tmp_path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_stop, running)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}"))
        card = await _card(client)
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "Bob"}]}
        answer = await client.post("/message:send", json={"message": message}, headers={"a2a-version": "1.0"})

    assert (card["name"], "url" in card) == ("greeter", False)
    assert answer.json()["task"]["artifacts"][0]["parts"] == [{"text": "Hello Bob"}]
    # uvicorn ends itself by the signal once it has shut down.
    assert running.returncode in (0, -signal.SIGTERM)


async def _stop(running: asyncio.subprocess.Process) -> None:
    if running.returncode is None:
        running.terminate()
    await running.wait()


async def _card(client: httpx.AsyncClient) -> dict[str, Any]:
    while True:
        try:
            card: dict[str, Any] = (await client.get("/.well-known/agent-card.json")).json()
        except httpx.ConnectError:
            await asyncio.sleep(0.05)
        else:
            return card


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("nothing", "module:name"),
        ("sqlite:///tasks.db", "is a URL; make it in a module"),
        ("no_such_module_here:x", "no module"),
        ("json:nothing", "has no 'nothing'"),
    ],
)
def test_what_cannot_be_loaded_is_named(target: str, told: str) -> None:
    with pytest.raises(typer.BadParameter, match=told):
        load(target)


@pytest.mark.parametrize(
    ("source", "told"),
    [("import nothing_of_that_name", "ModuleNotFoundError: No module named"), ("x = (", "SyntaxError")],
)
def test_a_module_that_cannot_be_imported_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str
) -> None:
    (tmp_path / "broken_agent.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(typer.BadParameter, match=f"'broken_agent' cannot be imported: {told}"):
        load("broken_agent:flow")


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [("--auth", "greeter:flow", "no function"), ("--store", "greeter:flow", "neither a TaskStore nor a StateStore")],
)
def test_a_store_or_hook_of_another_kind_is_wrong_usage(tmp_path: Path, option: str, value: str, told: str) -> None:
    assert told in _refusal(tmp_path, option, value, "--port", "0")


def test_a_port_that_is_taken_is_named_before_the_flow_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = _refusal(tmp_path, "--port", port)

    assert f"cannot listen on 127.0.0.1:{port}" in told
    assert "choose another --port" in told
    assert "startup" not in told


def _refusal(folder: Path, *options: str) -> str:
    """Return what the command says that is refused as wrong usage, as one line."""
    (folder / "greeter.py").write_text(FLOW)
    program = "from penguiflow_a2a._cli import app; app()"
    command = (sys.executable, "-c", program, "serve", "greeter:flow", *options)
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2, ended.stderr
    return " ".join(ended.stderr.replace("│", " ").split())
