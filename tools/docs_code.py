"""Run the code blocks of Markdown pages: `docs_code.py PAGE...`.

The Python blocks of a page run one after the other in one process, as a reader pastes them into `python -m asyncio`: a
later block sees what an earlier one defined, and `await` may stand outside a function. They run in an empty directory,
with warnings as errors. Shell blocks run from the root of the repository; JSON, TOML and YAML blocks are read. A block
below a line `<!-- not run: REASON -->` is only counted, and its reason printed.
"""

import ast
import asyncio
import dataclasses
import inspect
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

TIMEOUT_S = 120
PYTHON = {"python", "py"}
SHELL = {"sh", "bash", "shell", "console"}
READ: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
    "yml": yaml.safe_load,
}

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^`\n]*)$")
_EXCUSE = re.compile(r"^\s*<!-- not run: (?P<reason>.+?) -->\s*$")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    excuse: str | None
    """Why it can't run, in the words of the page; None if it has to."""

    @property
    def place(self) -> str:
        """Where its first line stands."""
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Return the fenced blocks of a page in their order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    excuse = None
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        number += 1
        if opening is None:
            if match := _EXCUSE.match(lines[number - 1]):
                excuse = match["reason"]
            elif lines[number - 1].strip():
                excuse = None
            continue
        first = number
        while number < len(lines) and lines[number].strip() != opening["fence"]:
            number += 1
        indent = len(opening["indent"])
        text = "\n".join(line[indent:] for line in lines[first:number]) + "\n"
        language = (opening["info"].replace("{", " ").replace("}", " ").split() or [""])[0].removeprefix(".").lower()
        yield Block(page, first + 1, language, text, excuse)
        excuse = None
        number += 1


def run_python(page_blocks: list[Block]) -> None:
    """Run the Python blocks of one page in this process, in one namespace.

    Raises whatever a block raises; the traceback names the page and the line.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for block in page_blocks:
            source = "\n" * (block.line - 1) + block.text
            code = compile(source, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if code.co_flags & inspect.CO_COROUTINE:
                runner.run(eval(code, names))
            else:
                exec(code, names)


def commands(block: Block) -> str:
    """Return the commands of a shell block; in a `console` block those after `$ `, its other lines are output."""
    if block.language != "console":
        return block.text
    return "\n".join(line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ "))


def check(page: Path) -> Iterator[str]:
    """Run what stands on a page; return a line for each block that fails."""
    found = list(blocks(page))
    required = [block for block in found if block.excuse is None]
    for block in found:
        if block.excuse is not None:
            print(f"{block.place}: not run: {block.excuse}")
    for block in required:
        if block.language in READ:
            try:
                READ[block.language](block.text)
            except ValueError as error:
                yield f"{block.place}: {error}"
        elif block.language in SHELL:
            yield from _run(block.place, ["bash", "-euo", "pipefail", "-c", commands(block)], Path())
    if any(block.language in PYTHON for block in required):
        with tempfile.TemporaryDirectory() as empty:
            script = [sys.executable, "-W", "error", __file__, "--blocks", str(page.resolve())]
            yield from _run(str(page), script, Path(empty))
    ran = sum(block.language in PYTHON | SHELL | set(READ) for block in required)
    if ran:
        print(f"{page}: {ran} blocks run")


def main() -> int:
    """Check the pages on the command line; return the exit status."""
    if sys.argv[1] == "--blocks":
        page = Path(sys.argv[2])
        run_python([block for block in blocks(page) if block.language in PYTHON and block.excuse is None])
        return 0
    problems = [problem for argument in sys.argv[1:] for problem in check(Path(argument))]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def _run(place: str, command: list[str], directory: Path) -> Iterator[str]:
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        yield f"{place}: still running after {TIMEOUT_S} s"
        return
    if done.returncode:
        yield f"{place}: exit status {done.returncode}\n{done.stdout}{done.stderr}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
