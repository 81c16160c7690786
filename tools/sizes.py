"""Check the sizes of files and functions against the house limits, and print them: `sizes.py ROOT...`.

The limits are those of well-kept code bases: a file holds one idea, a function fits on a screen.
"""

import ast
import dataclasses
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

FILE_LINES_MEDIAN = 220
FILE_LINES_MOST = 800
FUNCTION_LINES_USUAL = 40
FUNCTION_LINES_MOST = 90
TEST_LINES_MOST = 25
USUAL_SHARE = 0.95


@dataclasses.dataclass(frozen=True)
class Size:
    """How many lines something at a place has, decorators not counted."""

    place: str
    lines: int


def python_files(roots: Sequence[Path]) -> list[Path]:
    """Return the Python files below the roots, in a stable order."""
    return sorted(path for root in roots for path in ([root] if root.is_file() else root.rglob("*.py")))


def functions(path: Path) -> Iterator[Size]:
    """Return the size of every function in a file, nested ones and methods too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Size(f"{path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)


def violations(files: list[Size], all_functions: list[Size]) -> Iterator[str]:
    """Return a line for every limit that does not hold."""
    if files and (median := statistics.median(size.lines for size in files)) > FILE_LINES_MEDIAN:
        yield f"the median file has {median:.0f} lines, {FILE_LINES_MEDIAN} are allowed"
    for size in files:
        if size.lines > FILE_LINES_MOST:
            yield f"{size.place}: {size.lines} lines, {FILE_LINES_MOST} are allowed in a file"
    for size in all_functions:
        is_test = size.place.rpartition(" ")[2].startswith("test_")
        most = TEST_LINES_MOST if is_test else FUNCTION_LINES_MOST
        if size.lines > most:
            yield f"{size.place}: {size.lines} lines, {most} are allowed in a {'test' if is_test else 'function'}"
    if all_functions and (usual := percentile(all_functions, USUAL_SHARE)) > FUNCTION_LINES_USUAL:
        yield f"{USUAL_SHARE:.0%} of functions have up to {usual} lines, {FUNCTION_LINES_USUAL} are allowed"


def percentile(sizes: list[Size], share: float) -> int:
    """Return the smallest number of lines that `share` of the sizes do not exceed."""
    ordered = sorted(size.lines for size in sizes)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def main() -> int:
    """Print the sizes below the roots on the command line and what breaks a limit; return the exit status."""
    paths = python_files([Path(argument) for argument in sys.argv[1:]])
    files = [Size(str(path), len(path.read_text(encoding="utf-8").splitlines())) for path in paths]
    found = [size for path in paths for size in functions(path)]
    if files and found:
        print(
            f"{len(files)} files: median {statistics.median(size.lines for size in files):.0f} lines,"
            f" longest {max(size.lines for size in files)};"
            f" {len(found)} functions: {USUAL_SHARE:.0%} up to {percentile(found, USUAL_SHARE)} lines,"
            f" longest {max(size.lines for size in found)}"
        )
    problems = list(violations(files, found))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
