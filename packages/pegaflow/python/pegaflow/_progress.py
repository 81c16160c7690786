"""A progress bar on one line of a terminal."""

import sys
from types import TracebackType
from typing import Self, TextIO

_WIDTH = 40


class ProgressBar:
    """Shows how far something has come, on a terminal; elsewhere it stays silent, so that logs stay clean."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        """Draw on `stream`, standard error by default."""
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._drawn = ""

    def show(self, share: float) -> None:
        """Draw the bar for a share from 0 to 1, if that looks different from what is there."""
        if not self._stream.isatty():
            return
        filled = round(_WIDTH * min(max(share, 0.0), 1.0))
        line = f"{self._label} [{'#' * filled}{'.' * (_WIDTH - filled)}] {share:4.0%}"
        if line != self._drawn:
            self._stream.write(f"\r{line}")
            self._stream.flush()
            self._drawn = line

    def __enter__(self) -> Self:
        """Draw an empty bar."""
        self.show(0.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Clear the line."""
        if self._drawn:
            self._stream.write(f"\r{' ' * len(self._drawn)}\r")
            self._stream.flush()
