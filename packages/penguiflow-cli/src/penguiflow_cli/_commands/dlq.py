"""`pf dlq`: messages that were delivered too often."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from penguiflow.bus import DeadLetter, DeadLetters, MessageBus
from penguiflow_cli._exits import Exit, fail, run_async, usage
from penguiflow_cli._options import AsJson, BusUrl
from penguiflow_cli._plugins import open_bus
from penguiflow_cli._screen import ago, show_json, show_table
from penguiflow_cli._stores import able, answered, opened

__all__ = ["register"]

_SHOWN_SIGNS = 60


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="List or replay messages that were delivered too often.")
    group.command("list")(list_letters)
    group.command("replay")(replay)
    app.add_typer(group, name="dlq")


def list_letters(
    queue: Annotated[str | None, typer.Argument(help="Of which queue; of all, if left out.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the oldest first.")] = 100,
    bus: BusUrl = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the oldest first."""
    letters = run_async(_list(open_bus(bus), queue, limit))
    if as_json:
        for letter in letters:
            show_json(_as_json(letter))
        return
    now = time.time()
    show_table(["queue", "letter", "died", "attempts", "reason", "message"], [_row(letter, now) for letter in letters])


def replay(
    queue: Annotated[str, typer.Argument(help="Of which queue.")],
    letter_ids: Annotated[list[str] | None, typer.Argument(metavar="LETTER...", help="Which letters.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All letters of the queue.")] = False,
    bus: BusUrl = None,
) -> None:
    """Put dead letters back into their queue, as if they were new.

    Exit status 3 says that there was none to put back.
    """
    if bool(letter_ids) == everything:
        usage("name the letters to replay, or all of them by --all; `pf dlq list` shows them")
    count = run_async(_replay(open_bus(bus), queue, letter_ids or None))
    if not count:
        fail(Exit.NOT_FOUND, f"queue {queue!r} has no such dead letter")
    typer.echo(f"{count} put back into {queue}")


async def _list(bus: MessageBus, queue: str | None, limit: int) -> list[DeadLetter]:
    async with opened(bus):
        return await answered(able(bus, DeadLetters, "list dead letters").list_dead(queue, limit=limit))


async def _replay(bus: MessageBus, queue: str, letter_ids: list[str] | None) -> int:
    async with opened(bus):
        return await answered(able(bus, DeadLetters, "replay dead letters").replay_dead(queue, letter_ids))


def _as_json(letter: DeadLetter) -> dict[str, object]:
    return {
        "queue": letter.queue,
        "letter_id": letter.letter_id,
        "dead_s": letter.dead_s,
        "attempts": letter.attempts,
        "reason": letter.reason,
        "message": letter.message,
    }


def _row(letter: DeadLetter, now: float) -> list[str]:
    text = json.dumps(letter.message, ensure_ascii=False, default=str)
    shown = text if len(text) <= _SHOWN_SIGNS else f"{text[:_SHOWN_SIGNS]}…"
    return [letter.queue, letter.letter_id, ago(letter.dead_s, now), str(letter.attempts), letter.reason, shown]
