"""What a run has measured, as Markdown for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["PEER_AT_LEAST", "put_into", "render"]

BEGIN = "<!-- measured by benchmarks.bus -->"
END = "<!-- end of what was measured -->"

PEER_AT_LEAST = 10.0
"""So many times as fast as other libraries the bus is to be."""


def render(report: dict[str, Any]) -> str:
    """Return the table, with where and how it was measured."""
    where = report["machine"]
    peers = "".join(f", {name} {number}" for name, number in report["peers"].items())
    head = (
        f"{where['measured'][:10]}: {where['cpus']} CPUs of {where['processor'] or 'unknown processor'}, "
        f"Python {where['python']}, {report['server']}{peers}; medians of {report['rounds']} rounds; "
        f"load average before the run {where['load_average']}."
    )
    return "\n".join([head, "", *_table(report["cases"])])


def put_into(path: Path, report: dict[str, Any]) -> None:
    """Replace what stands between the two markers of a page by the table.

    Raises:
        ValueError: the page lacks the markers.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} lacks the markers {BEGIN} and {END}; put them where the table belongs")
    path.write_text(f"{before}{begin}\n\n{render(report)}\n\n{end}{after}", encoding="utf-8")


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| contender | what | messages a second | compared | wanted |"
    yield "|---|---|--:|---|---|"
    for row in rows:
        compared, wanted = _compared(row)
        rate = f"{1e6 / row['us_per_message']:,.0f}"
        yield f"| {row['contender']} | {row['task']} | {rate} | {compared} | {wanted} |"


def _compared(row: dict[str, Any]) -> tuple[str, str]:
    if not row["ratios"]:
        return "", ""
    ratio = row["ratios"][-1]["ratio"]
    if row["at_most"] is not None:
        return f"{1 / ratio:.0%} of the floor", f"at least {1 / row['at_most']:.0%} {_mark(ratio <= row['at_most'])}"
    return f"the bus is {ratio:.1f} times as fast", f"at least {PEER_AT_LEAST:g} {_mark(ratio >= PEER_AT_LEAST)}"


def _mark(met: bool) -> str:
    return "✓" if met else "**missed**"
