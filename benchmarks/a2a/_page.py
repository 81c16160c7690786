"""The tables of a run."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
TARGETS = {"send": "≥ 35 %", "busy send": "≥ 35 %", "first event": "≥ 33 %"}


def render(report: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    rounds: dict[str, list[dict[str, float]]] = report["rounds"]
    names = list(rounds)
    lines = [
        f"| per second | {' | '.join(_titled(name, report) for name in names)} | of the floor | bound |",
        "|---|" + "---:|" * (len(names) + 2),
    ]
    for task in rounds["floor"][0]:
        medians = {name: statistics.median(each[task] for each in rounds[name]) for name in names}
        ratios = [ours[task] / floor[task] for ours, floor in zip(rounds[names[1]], rounds["floor"], strict=True)]
        cells = " | ".join(f"{medians[name]:,.0f}" for name in names)
        bound = TARGETS.get(task, "≥ 30 %")
        lines.append(f"| {_told(task)} | {cells} | {statistics.median(ratios):.0%} | {bound} |")
    machine = report["machine"]
    told = f"CPython {machine['python']}, {machine['cpus']} cores, load average {machine['load'][0]:.1f}"
    lines += ["", f"{len(rounds['floor'])} rounds; {told}."]
    if report["memory"]:
        cells = ", ".join(f"{each['bytes'] / 2**20:,.0f} MiB after {each['tasks']:,}" for each in report["memory"])
        lines += ["", f"Resident memory of the server as it finishes tasks: {cells}."]
    return "\n".join(lines)


def _titled(name: str, report: dict[str, Any]) -> str:
    return f"{name} ({report['versions'][name]})"


def _told(task: str) -> str:
    if task.startswith("busy "):
        return f"{_told(task.removeprefix('busy '))}, by processor time of the server"
    if task == "send":
        return "messages answered with their task, 16 connections"
    if task == "first event":
        return "first events of a stream, one after the other"
    return f"events of one stream of {int(task.split()[1]):,} pieces"


def put_into(page: Path, report: dict[str, Any]) -> None:
    """Replace what stands between the markers of a page."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{render(report)}\n\n{END}{after}", encoding="utf-8")
