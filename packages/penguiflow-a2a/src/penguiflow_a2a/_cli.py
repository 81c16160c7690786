"""`pf a2a`: serves a flow from the command line."""

from __future__ import annotations

import importlib
import socket
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

try:
    import typer
except ImportError as _error:
    raise ImportError('pf a2a needs typer: pip install "penguiflow-a2a[server]"', name="typer") from _error

from penguiflow import FlowDefinitionError, PenguiFlow

__all__ = ["app"]

app = typer.Typer(help="Serve flows as A2A agents.", no_args_is_help=True)


@app.callback()
def _main() -> None:
    # With a callback, the one command that there is keeps its name.
    return None


@app.command()
def serve(
    flow: Annotated[str, typer.Argument(help="The flow, as module:name; a function there may make it.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    url: Annotated[str | None, typer.Option(help="Where clients reach the agent; the address if left out.")] = None,
    card: Annotated[str, typer.Option(help="dual, or 1.0 for a card without the fields of version 0.3.")] = "dual",
    store: Annotated[str | None, typer.Option(help="A StateStore or TaskStore for tasks, as module:name.")] = None,
    auth: Annotated[str | None, typer.Option(help="The authentication hook, as module:name.")] = None,
) -> None:
    """Serve a flow as an A2A agent until it is told to stop."""
    import uvicorn

    from penguiflow_a2a.server import create_a2a_app, describe

    served = load(flow)
    if not isinstance(served, PenguiFlow):
        raise typer.BadParameter(f"{flow} is {served!r}, which is no flow", param_hint="FLOW")
    kept = None if store is None else load(store)
    who = None if auth is None else load(auth, calls=False)
    if who is not None and not callable(who):
        raise typer.BadParameter(f"{auth} is {who!r}, which is no function", param_hint="--auth")
    _refuse_taken(host, port)
    described = describe(served, url=url or f"http://{_reachable(host)}:{port}")
    try:
        application = create_a2a_app(served, card=described, card_format=_card_format(card), store=kept, auth=who)
    except FlowDefinitionError as error:
        raise typer.BadParameter(str(error)) from error
    uvicorn.run(application, host=host, port=port, timeout_graceful_shutdown=15)


def _refuse_taken(host: str, port: int) -> None:
    """Say which option to change where the address is not to be had; uvicorn would end with a status of its own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        problem = f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port or --host"
        raise typer.BadParameter(problem, param_hint="--port") from error


def load(target: str, *, calls: bool = True) -> Any:
    """Return what `module:name` names; of a plain function what it returns, unless `calls` is false.

    Raises:
        BadParameter: there is none.
    """
    module, colon, name = target.partition(":")
    if name.startswith("//"):
        raise typer.BadParameter(f"{target!r} is a URL; make it in a module, and name it as module:name")
    if not colon or not module or not name:
        raise typer.BadParameter(f"{target!r} is not of the form module:name")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
            raise typer.BadParameter(f"there is no module {module!r} here or in the environment") from error
        raise typer.BadParameter(f"{module!r} cannot be imported: {type(error).__name__}: {error}") from error
    for step in name.split("."):
        if not hasattr(found, step):
            raise typer.BadParameter(f"module {module!r} has no {name!r}")
        found = getattr(found, step)
    is_plain = callable(found) and not isinstance(found, type) and hasattr(found, "__code__")
    return found() if calls and is_plain else found


def _card_format(text: str) -> Literal["dual", "1.0"]:
    if text == "dual":
        return "dual"
    if text == "1.0":
        return "1.0"
    raise typer.BadParameter(f"{text!r} is neither dual nor 1.0", param_hint="--card")


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
