"""`pf worker`: a process that runs nodes of a flow."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from penguiflow import JsonLines, PenguiFlow, log_flow_events
from penguiflow_cli._exits import Exit, fail, run_async, usage
from penguiflow_cli._flows import Target, load_flow
from penguiflow_cli._nearest import nearest
from penguiflow_cli._options import BusUrl, StateUrl, seconds
from penguiflow_cli._plugins import open_bus, open_store
from penguiflow_cli._signals import Signals
from penguiflow_cli._stores import opened

__all__ = ["LogStyle", "register"]

_HANDED_BACK_S = 5.0


class LogStyle(StrEnum):
    """How a worker writes the events of its flow to the standard error."""

    NONE = "none"
    TEXT = "text"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(worker)


def worker(
    target: Annotated[str, typer.Argument(metavar="MODULE:FLOW", help="Which flow.")],
    nodes: Annotated[
        str | None, typer.Option(metavar="A,B", help="The nodes that this process runs; all, if left out.")
    ] = None,
    bus: BusUrl = None,
    state: StateUrl = None,
    lease: Annotated[
        float, typer.Option(parser=seconds, metavar="TIME", help="After how long another process may take its work.")
    ] = 30.0,
    drain: Annotated[
        float, typer.Option(parser=seconds, metavar="TIME", help="How long it may take to finish what it has.")
    ] = 30.0,
    log: Annotated[LogStyle, typer.Option(help="How to write events to the standard error.")] = LogStyle.NONE,
) -> None:
    """Run nodes of a flow until a signal comes, and take up traces whose process has died.

    SIGTERM or SIGINT lets it finish what it has and take nothing new; a second one stops it at once, and what it had is
    taken up by others.
    """
    loaded = load_flow(target)
    chosen = None if nodes is None else _chosen(nodes, loaded.flow)
    _log(loaded.flow, log)
    status = run_async(_work(loaded, chosen, state, bus, lease, drain))
    if status:
        raise typer.Exit(status)


def _chosen(nodes: str, flow: PenguiFlow) -> list[str]:
    names = [name.strip() for name in nodes.split(",") if name.strip()]
    for name in names:
        if name not in flow.nodes:
            near = nearest(name, flow.nodes)
            hint = f"; did you mean {near}" if near else ""
            usage(f"flow {flow.name!r} has no node {name!r} (it has {', '.join(flow.nodes)}){hint}")
    if not names:
        usage("--nodes names none; leave it out to run all of them")
    return names


def _log(flow: PenguiFlow, style: LogStyle) -> None:
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(JsonLines() if style is LogStyle.JSON else plain)
    logging.basicConfig(level=logging.INFO if style is not LogStyle.NONE else logging.WARNING, handlers=[handler])
    if style is not LogStyle.NONE:
        flow.add_middleware(log_flow_events())


async def _work(
    target: Target, nodes: Sequence[str] | None, state: str | None, bus: str | None, lease_s: float, drain_s: float
) -> int:
    flow, store = target.flow, open_store(state)
    message_bus = open_bus(bus) if bus else None
    async with opened(store, message_bus):
        with Signals(signal.SIGTERM, signal.SIGINT) as signals:
            flow.run(target.registry, nodes=nodes, state_store=store, message_bus=message_bus, lease_s=lease_s)
            _say(f"runs {', '.join(nodes or flow.nodes)} of flow {flow.name!r}, version {flow.version}")
            await signals.wait()
            _say("finishes what it has; a second signal stops it at once")
            return await _stop(flow, signals, drain_s)


async def _stop(flow: PenguiFlow, signals: Signals, drain_s: float) -> int:
    draining = asyncio.ensure_future(flow.stop(drain=True, timeout_s=drain_s))
    again = asyncio.ensure_future(signals.wait())
    try:
        await asyncio.wait({draining, again}, return_when=asyncio.FIRST_COMPLETED)
        if draining.done():
            await draining
            return Exit.OK
        _say("stops at once")
        async with asyncio.timeout(_HANDED_BACK_S):
            await flow.stop(drain=False)
            await draining
    except TimeoutError:
        fail(Exit.FAILED, f"the flow did not stop within {_HANDED_BACK_S} s")
    finally:
        again.cancel()
        draining.cancel()
        await asyncio.wait({draining, again}, timeout=_HANDED_BACK_S)
    return 128 + again.result()


def _say(what: str) -> None:
    typer.echo(f"pf worker {what}", err=True)
