"""Leaving a process running: it outlives the terminal and the process that started it."""

import os
import sys
from pathlib import Path
from typing import Self


class Detachment:
    """The two ends of a fork: the parent waits for the child to say that it serves, the child goes on alone.

    Fork before any thread is started.
    """

    def __init__(self, pipe: int, log: Path) -> None:
        self._pipe = pipe
        self._log = log

    @classmethod
    def begin(cls, *, log: Path) -> tuple[bool, Self]:
        """Fork. Give whether this is the child, whose output goes to `log` from here on."""
        reads, writes = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fork():
            os.close(writes)
            return False, cls(reads, log)
        os.close(reads)
        os.setsid()
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for descriptor, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, target)
        os.close(nothing)
        os.close(output)
        return True, cls(writes, log)

    def succeed(self) -> None:
        """In the child: say that it serves."""
        os.write(self._pipe, b"!")
        os.close(self._pipe)

    def wait(self) -> bool:
        """In the parent: wait until the child serves or has ended, and give which."""
        said = os.read(self._pipe, 1)
        os.close(self._pipe)
        if not said:
            sys.stderr.write(self._log.read_text(errors="replace"))
        return bool(said)
