"""Options that several commands take."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

import typer

__all__ = ["AsJson", "BusUrl", "FlowName", "StateUrl", "seconds"]

StateUrl: TypeAlias = Annotated[
    str | None,
    typer.Option("--state", envvar="PENGUIFLOW_STATE", metavar="URL", help="The store: sqlite:///path, postgresql://…"),
]
BusUrl: TypeAlias = Annotated[
    str | None, typer.Option("--bus", envvar="PENGUIFLOW_BUS", metavar="URL", help="The bus: redis://host:port/db")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON, one object a line.")]
FlowName: TypeAlias = Annotated[str | None, typer.Option("--flow", metavar="NAME", help="Of this flow only.")]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "": 1.0}
_DURATION = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>ms|[smhdw]?)")


def seconds(text: str | float) -> float:
    """Read a length of time: 90, 90s, 10m, 2h, 3d.

    Raises:
        typer.BadParameter: it is none.
    """
    # Typer passes a default through here as well.
    match = _DURATION.fullmatch(str(text).strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no length of time; write for example 90s, 10m, 2h or 3d")
    return float(match["number"]) * _UNITS[match["unit"]]
