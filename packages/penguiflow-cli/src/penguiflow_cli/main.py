"""The command itself: its own subcommands, and those that other packages bring."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
import typer.core

from penguiflow_cli import _plugins
from penguiflow_cli._commands import cancel, dlq, doctor, inspect, resume, run, tail, traces, viz, worker
from penguiflow_cli._exits import Exit
from penguiflow_cli._screen import complain

__all__ = ["app", "main"]


class _Commands(typer.core.TyperGroup):
    """The commands of this package and, imported when they are asked for, those of others."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        own = super().list_commands(ctx)
        return [*own, *(name for name in _plugins.found(_plugins.COMMANDS) if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; None where there is none of that name."""
        own = super().get_command(ctx, cmd_name)
        point = _plugins.found(_plugins.COMMANDS).get(cmd_name) if own is None else None
        if point is None:
            missing = _plugins.EXTRAS_OF_COMMANDS.get(cmd_name) if own is None else None
            return (
                own if missing is None else _unusable(cmd_name, f"not installed; pip install 'penguiflow[{missing}]'")
            )
        try:
            command = typer.main.get_command(point.load())
        except Exception as error:
            return _unusable(cmd_name, f"{point.value} cannot be imported: {type(error).__name__}: {error}")
        command.name = cmd_name
        return command


def _unusable(name: str, problem: str) -> Any:
    """Return a command that says why it cannot be used; the others, and the help, go on."""
    broken = typer.Typer(add_completion=False)

    @broken.command(name, help=f"Not usable: {problem}", context_settings={"ignore_unknown_options": True})
    def explain(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        complain(f"{name}: {problem}")
        raise typer.Exit(Exit.UNAVAILABLE)

    return typer.main.get_command(broken)


app = typer.Typer(
    name="pf",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit status: 0 well, 1 a trace failed or something is stuck, 2 wrong usage, 3 not found, "
        "4 store or bus not available, 130 interrupted."
    ),
)
"""The command, for those who mount it in one of their own."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pf {version('penguiflow-cli')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version, and end.")
    ] = False,
) -> None:
    """Look into flows, and run them."""


for _module in (inspect, traces, tail, doctor, run, resume, cancel, worker, dlq, viz):
    _module.register(app)


def main() -> None:
    """Run the command on the arguments of the process."""
    app()
