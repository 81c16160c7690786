"""`pf viz`: a flow as a diagram."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from penguiflow import to_dot, to_mermaid
from penguiflow_cli._flows import load_flow

__all__ = ["Format", "register"]


class Format(StrEnum):
    """The languages of diagrams."""

    MERMAID = "mermaid"
    DOT = "dot"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(viz)


def viz(
    target: Annotated[str, typer.Argument(metavar="MODULE:FLOW", help="Which flow.")],
    language: Annotated[Format, typer.Option("--format", help="In which language.")] = Format.MERMAID,
) -> None:
    """Write a flow as a diagram: the same text on every run."""
    flow = load_flow(target).flow
    typer.echo(to_mermaid(flow) if language is Format.MERMAID else to_dot(flow), nl=False)
