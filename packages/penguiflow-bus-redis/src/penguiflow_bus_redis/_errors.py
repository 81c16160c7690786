"""What can go wrong with the bus, as one hierarchy.

::

    BusError                  a call of the bus failed; `code` says how
    ├── BusUnavailable        Redis could not be reached in time (url, waited_s)
    ├── BusRefused            Redis refused a command (command, reply)
    ├── BusClosed             the bus was closed (also a RuntimeError)
    ├── BusMisconfigured      an option is not usable (also a ValueError)
    │   └── PartitionsDiffer  the queue was begun with another number of partitions (queue, here, there)
    └── MessageNotJson        the message is not what JSON can hold (queue, also a TypeError)

`ConnectionLost` is of use inside the package only: it says that a reply will not come, and whoever asked decides.
"""

from __future__ import annotations

__all__ = [
    "BusClosed",
    "BusError",
    "BusMisconfigured",
    "BusRefused",
    "BusUnavailable",
    "ConnectionLost",
    "MessageNotJson",
    "PartitionsDiffer",
]


class BusError(Exception):
    """A call of the bus failed."""

    code = "BUS_ERROR"
    """What happened, as a word that stays the same."""


class BusUnavailable(BusError):
    """Redis could not be reached for `waited_s` seconds."""

    code = "BUS_UNAVAILABLE"

    def __init__(self, url: str, waited_s: float, problem: str) -> None:
        super().__init__(
            f"no Redis at {url} for {waited_s:g} s ({problem}); see that it runs and can be reached, or raise give_up_s"
        )
        self.url = url
        self.waited_s = waited_s
        self.problem = problem


class BusRefused(BusError):
    """Redis refused a command."""

    code = "BUS_REFUSED"

    def __init__(self, command: str, reply: str) -> None:
        super().__init__(f"Redis refused {command}: {reply}; see the settings and the memory of the server")
        self.command = command
        self.reply = reply


class BusClosed(BusError, RuntimeError):
    """The bus was closed before the call was done."""

    code = "BUS_CLOSED"

    def __init__(self) -> None:
        super().__init__("the bus is closed; make another one")


class BusMisconfigured(BusError, ValueError):
    """An option is not usable."""

    code = "BUS_MISCONFIGURED"


class PartitionsDiffer(BusMisconfigured):
    """A queue was begun with another number of partitions."""

    code = "PARTITIONS_DIFFER"

    def __init__(self, queue: str, here: int, there: int) -> None:
        super().__init__(
            f"queue {queue!r} has {there} partitions, and this bus was made with partitions={here}; "
            f"make every bus with the same number, or delete the keys of the queue"
        )
        self.queue = queue
        self.here = here
        self.there = there


class MessageNotJson(BusError, TypeError):
    """A message is not what JSON can hold."""

    code = "MESSAGE_NOT_JSON"

    def __init__(self, queue: str, problem: str) -> None:
        super().__init__(f"a message for queue {queue!r} cannot be written as JSON: {problem}")
        self.queue = queue
        self.problem = problem


class ConnectionLost(Exception):
    """The connection broke before the reply came; the command may have been carried out or not."""
