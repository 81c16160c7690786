"""Finds the files to search, and reads them as passages with line numbers."""

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel

MAX_FILE_BYTES = 8 * 1024 * 1024
PASSAGE_LINES = 8
"""A paragraph longer than this is cut, so that a source points close to what it supports."""
PASSAGE_CHARS = 2_000
"""The same for paragraphs that are one very long line, as in minified files."""

_CONTROLS = (*range(32), *range(127, 160), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_NOT_SHOWN = {code: " " for code in _CONTROLS if chr(code) not in "\n\t"}
"""Controls and marks of direction: a file could otherwise steer the terminal that it is printed on."""


class Passage(BaseModel):
    """A paragraph of a file, or a piece of a long one."""

    path: Path
    line: int
    """Where it begins, counted from 1."""
    heading: str = ""
    """The Markdown heading above it."""
    text: str
    is_prose: bool = True
    """Whether it is neither code nor part of a table of a Markdown file."""

    @property
    def source(self) -> str:
        return f"{printable(str(self.path))}:{self.line}"


class NotReadable(Exception):
    """A file was left out; the text says why."""


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files at and below `paths`, each once; directories are walked in sorted order.

    Hidden files and directories are left out of a walk, and links to directories are not followed. What does not
    exist is returned too: reading it says what is wrong.
    """
    found: dict[Path, Path] = {}
    for path in itertools.chain.from_iterable(map(_walk, paths)):
        found.setdefault(path.resolve(), path)
    return list(found.values())


def _walk(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
    for directory, directories, names in os.walk(root):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        yield from (Path(directory) / name for name in sorted(names) if not name.startswith("."))


def read_passages(path: Path) -> list[Passage]:
    """Read a file of UTF-8 text.

    Raises:
        NotReadable: it is missing, forbidden, binary, too large, or no file.
    """
    try:
        # A pipe or a device could be opened, but might never end.
        if path.exists() and not path.is_file():
            raise NotReadable("not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotReadable(error.strerror or str(error)) from error
    if len(data) > MAX_FILE_BYTES:
        raise NotReadable(f"larger than {MAX_FILE_BYTES // 1024**2} MiB")
    if b"\0" in data:
        raise NotReadable("binary")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotReadable(f"not UTF-8 text (byte {error.start})") from error
    return list(split_passages(path, text))


def split_passages(path: Path, text: str) -> Iterator[Passage]:
    """Cut a text at its blank lines, and long paragraphs into pieces; Markdown also at its headings and list items."""
    is_markdown = path.suffix == ".md"
    is_code, heading, first, lines = False, "", 1, list[str]()
    for number, line in enumerate([*printable(text).split("\n"), ""], start=1):
        is_heading = is_markdown and line.startswith("#") and not is_code
        begins = not line.strip() or is_heading or (is_markdown and line.startswith(("```", "- ")))
        too_long = len(lines) == PASSAGE_LINES or sum(map(len, lines)) > PASSAGE_CHARS
        if lines and (begins or too_long):
            is_prose = not is_code and not lines[0].startswith("|")
            yield from _cut(Passage(path=path, line=first, heading=heading, text="\n".join(lines), is_prose=is_prose))
            lines = []
        if is_markdown and line.startswith("```"):
            is_code = not is_code
        elif is_heading:
            heading = line.strip("# ")
        elif line.strip():
            first = number if not lines else first
            lines.append(line.rstrip())


def _cut(passage: Passage) -> Iterator[Passage]:
    text = passage.text
    for start in range(0, len(text), PASSAGE_CHARS):
        line = passage.line + text.count("\n", 0, start)
        yield passage.model_copy(update={"line": line, "text": text[start : start + PASSAGE_CHARS]})


def printable(text: str) -> str:
    """Replace what would steer a terminal by spaces."""
    return text.translate(_NOT_SHOWN)
