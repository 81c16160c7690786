"""Read a trace of block references: one JSON object a line, plain or compressed."""

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pegaflow._native import Trace

_LINES_PER_REPORT = 500


class TraceError(ValueError):
    """A line of a trace is not a request.

    Attributes:
        path: The file.
        line: The number of the line, from 1.
        reason: What is wrong with it.
    """

    code = "TRACE_INVALID"

    def __init__(self, path: Path, line: int, reason: str) -> None:
        """Build the message from the place and the reason."""
        self.path, self.line, self.reason = path, line, reason
        super().__init__(
            f"{path}:{line}: {reason}; each line must be a JSON object with an integer 'timestamp' in milliseconds, "
            "in order, and a list 'hash_ids' of integers from 0 to 2**64-1, in prompt order"
        )


def read_trace(path: Path, report: Callable[[float], None] = lambda share: None) -> Trace:
    """Read a whole trace; `.gz` and `.xz` are unpacked. `report` is given the share of the file read so far.

    Raises:
        TraceError: A line is not a request or earlier than the one before it, or the file is not packed as it says.
        OSError: The file cannot be read.
    """
    trace = Trace()
    size_bytes = max(path.stat().st_size, 1)
    number = 0
    try:
        with _lines(path) as (lines, file):
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    _append(trace, line, path, number)
                if number % _LINES_PER_REPORT == 0:
                    report(min(file.tell() / size_bytes, 1.0))
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise TraceError(path, number + 1, f"cannot unpack what follows: {error}") from error
    return trace


def _append(trace: Trace, line: bytes, path: Path, number: int) -> None:
    try:
        request = json.loads(line)
        trace.push(request["timestamp"], request["hash_ids"])
    except KeyError as error:
        raise TraceError(path, number, f"{error} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise TraceError(path, number, str(error)) from None


@contextmanager
def _lines(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a trace; give its lines and the file below them, whose position tells how far reading has come."""
    with path.open("rb") as file:
        match path.suffix:
            case ".gz":
                with gzip.open(file) as unpacked:
                    yield unpacked, file  # type: ignore[misc]
            case ".xz":
                with lzma.open(file) as unpacked_xz:
                    yield unpacked_xz, file
            case _:
                yield file, file
