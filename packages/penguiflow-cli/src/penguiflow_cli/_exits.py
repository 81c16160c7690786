"""How the command ends: what its exit status says, and one place that turns errors into it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, NoReturn, TypeVar

import typer

from penguiflow.errors import FlowError, FlowErrorCode
from penguiflow_cli._screen import complain

__all__ = ["Exit", "fail", "run_async", "usage"]

T = TypeVar("T")


class Exit(IntEnum):
    """What an exit status of `pf` says."""

    OK = 0
    FAILED = 1
    """A trace failed or was cancelled, or something is stuck."""
    USAGE = 2
    """The command line is wrong, a `module:flow` included."""
    NOT_FOUND = 3
    """No trace, queue or dead letter of that name."""
    UNAVAILABLE = 4
    """A store or bus cannot be reached, is not installed, or cannot do what was asked of it."""
    INTERRUPTED = 130
    """Stopped by SIGINT before it was done."""


def fail(status: Exit, message: str) -> NoReturn:
    """Say what is wrong, and end with that status."""
    complain(message)
    raise typer.Exit(status)


def usage(message: str) -> NoReturn:
    """Say what is wrong about the command line, and end."""
    fail(Exit.USAGE, message)


_OF_CODES = {
    FlowErrorCode.TRACE_UNKNOWN: Exit.NOT_FOUND,
    FlowErrorCode.INVALID_DEFINITION: Exit.USAGE,
    FlowErrorCode.GRAPH_CHANGED: Exit.USAGE,
    FlowErrorCode.UNKNOWN_TARGET: Exit.USAGE,
}


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; an error of a flow, a store or a bus becomes a line and a status."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None
    except FlowError as error:
        fail(_status_of(error.code), str(error))
    except OSError as error:
        fail(Exit.UNAVAILABLE, f"{type(error).__name__}: {error}")


def _status_of(code: str) -> Exit:
    # A code that is not the runtime's is one of a store or a bus.
    known = FlowErrorCode.__members__.get(code)
    return Exit.UNAVAILABLE if known is None else _OF_CODES.get(known, Exit.FAILED)
