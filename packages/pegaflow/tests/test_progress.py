"""The progress bar, on a terminal and off it."""

import io

from pegaflow._progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_fills_and_leaves_an_empty_line() -> None:
    terminal = Terminal()
    with ProgressBar("reading", terminal) as bar:
        bar.show(0.5)
        bar.show(0.5)
        bar.show(1.0)
    drawn = terminal.getvalue().split("\r")
    assert [line.count("#") for line in drawn] == [0, 0, 20, 40, 0, 0]
    assert "reading" in drawn[1]
    assert drawn[-2].strip() == ""


def test_a_bar_is_silent_where_there_is_no_terminal() -> None:
    log = io.StringIO()
    with ProgressBar("reading", log) as bar:
        bar.show(0.5)
    assert log.getvalue() == ""
