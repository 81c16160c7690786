"""`python -m benchmarks.a2a`: measure the A2A server beside a bare web server, print a table and write JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.a2a import _load, _page
from benchmarks.a2a._servers import Server, running

CONNECTIONS = 16
LENGTHS = (500, 1000, 5000, 20_000)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.a2a", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts; default: %(default)s")
    parser.add_argument("--messages", type=int, default=3000, help="sent a round; default: %(default)s")
    parser.add_argument("--tasks", type=int, default=0, help="finished tasks after which memory is read; default: none")
    parser.add_argument("--quick", action="store_true", help="a short run that shows it works")
    parser.add_argument("--peers", action="store_true", help="measure other servers too; installs them with uv")
    parser.add_argument("--peer-environments", type=Path, default=Path(".nox/peers"), metavar="DIR")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/a2a.json"), help="default: %(default)s")
    parser.add_argument("--page", type=Path, help="a Markdown page to put the tables into, between its markers")
    return parser.parse_args()


async def _round(server: Server, messages: int, lengths: tuple[int, ...]) -> dict[str, float]:
    busy_s = server.busy_s
    found = {"send": messages / await _load.send(server.port, messages, CONNECTIONS)}
    found["busy send"] = messages / max(server.busy_s - busy_s, 0.01)
    for length in lengths:
        busy_s = server.busy_s
        streamed = await _load.stream(server.port, length)
        found[f"stream {length}"] = streamed.events / streamed.seconds
        if length == LENGTHS[-1]:
            found[f"busy stream {length}"] = streamed.events / max(server.busy_s - busy_s, 0.01)
    firsts = [(await _load.stream(server.port, 1)).first_s for _ in range(10)]
    found["first event"] = 1 / statistics.median(firsts)
    return found


async def _measure(servers: list[Server], arguments: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    messages, rounds = arguments.messages, arguments.rounds
    lengths: tuple[int, ...] = LENGTHS
    if arguments.quick:
        messages, rounds, lengths = 64, 1, LENGTHS[:1]
    for server in servers:
        await _round(server, max(32, messages // 10), lengths[:1])
    figures: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        shift = number % len(servers)
        for server in (*servers[shift:], *servers[:shift]):
            figures[server.name].append(await _round(server, messages, lengths))
    return figures


async def _memory(server: Server, tasks: int) -> list[dict[str, int]]:
    """Return the memory of a server as it finishes tasks."""
    found = [{"tasks": 0, "bytes": server.memory_bytes}]
    for done in range(tasks // 5, tasks + 1, tasks // 5):
        await _load.send(server.port, tasks // 5, CONNECTIONS)
        found.append({"tasks": done, "bytes": server.memory_bytes})
    return found


def main() -> int:
    """Measure, print and write."""
    arguments = _arguments()
    with running(arguments.peer_environments, with_peers=arguments.peers) as servers:
        figures = asyncio.run(_measure(servers, arguments))
        memory = asyncio.run(_memory(servers[1], arguments.tasks)) if arguments.tasks else []
        versions = {server.name: server.version for server in servers}
    report: dict[str, Any] = {
        "machine": {"python": platform.python_version(), "cpus": os.cpu_count(), "load": os.getloadavg()},
        "quick": arguments.quick,
        "versions": versions,
        "rounds": figures,
        "memory": memory,
    }
    print(_page.render(report))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if arguments.page is not None:
        _page.put_into(arguments.page, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
