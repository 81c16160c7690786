"""What is written to the terminal: in colour there, plain where it is piped."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["ago", "clock", "complain", "console", "details", "duration", "show_json", "show_table", "styled"]

STATE_STYLES = {
    "running": "cyan",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "error": "bold red",
    "stuck": "bold red",
    "waiting": "yellow",
}


def console() -> Console:
    """Return the console of the standard output as it is now."""
    return Console(highlight=False)


def complain(message: str) -> None:
    """Write a line to the standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(f"pf: {message}", style="red"))


def show_json(value: Any) -> None:
    """Write a value as a line of JSON."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Write rows below headings: as a table on a terminal, as tab-separated lines where it is piped."""
    out = console()
    if not out.is_terminal:
        for row in (columns, *rows):
            sys.stdout.write("\t".join(_flat(cell) for cell in row) + "\n")
        sys.stdout.flush()
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold", ratio=1)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    out.print(table)


def _flat(cell: str | Text) -> str:
    return " ".join((cell.plain if isinstance(cell, Text) else cell).split())


def styled(word: str, style: str | None = None) -> Text:
    """Return a word in the colour of what it means."""
    return Text(word, style=style or STATE_STYLES.get(word, ""))


def duration(seconds: float | None) -> str:
    """Return a length of time as one reads it: 3.2ms, 1.50s, 2m05s, 3h10m, 4d02h."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 60:
        return f"{seconds:.2f}s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def ago(then: float, now: float) -> str:
    """Return how long ago something was."""
    return f"{duration(max(now - then, 0.0))} ago"


def clock(when: float) -> str:
    """Return a time of day, in the time zone of the machine, with its date."""
    return datetime.fromtimestamp(when).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def details(fields: Mapping[str, object]) -> str:
    """Return fields as `name=value`, those that say something."""
    return " ".join(f"{name}={value}" for name, value in fields.items() if value not in (None, "", [], {}))
