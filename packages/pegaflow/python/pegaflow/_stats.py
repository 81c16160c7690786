"""`python -m pegaflow stats`: what a running sidecar does."""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from pegaflow import _native
from pegaflow._engine import PegaEngine
from pegaflow._errors import PegaError
from pegaflow._location import default_socket
from pegaflow._sizes import format_size

_CLEAR = "\x1b[H\x1b[J"
_PER_SECOND = ("puts", "removes", "memory_hits", "disk_hits", "misses", "evictions", "sidecar_requests_total")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `stats` takes."""
    parser.add_argument("--socket", type=Path, help="where the sidecar listens; by default that of this user")
    parser.add_argument("--interval-s", type=_interval_s, default=1.0, help="how often the table is drawn (default: 1)")
    parser.add_argument("--once", action="store_true", help="draw it once")
    parser.add_argument("--json", action="store_true", help="print the figures once, as JSON")


def _interval_s(text: str) -> float:
    interval_s = float(text)
    if not 0.01 <= interval_s <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no interval: give seconds, 0.01 or more")
    return interval_s


def run(arguments: argparse.Namespace) -> int:
    """Draw the table until interrupted or until the sidecar ends."""
    try:
        handle = _native.connect((arguments.socket or default_socket()).absolute(), {})
        with closing(PegaEngine(_handle=handle)) as engine:
            if arguments.json:
                print(json.dumps(engine.stats()))
                return 0
            _watch(engine, arguments)
    except KeyboardInterrupt:
        pass
    except (PegaError, OSError) as error:
        print(f"pegaflow stats: {error}", file=sys.stderr)
        return 1
    return 0


def _watch(engine: PegaEngine, arguments: argparse.Namespace) -> None:
    before: Mapping[str, int] | None = None
    while True:
        figures = engine.stats()
        clear = _CLEAR if sys.stdout.isatty() else ""
        print(clear + table(figures, before, arguments.interval_s), flush=True)
        if arguments.once:
            return
        before = figures
        time.sleep(arguments.interval_s)


def table(figures: Mapping[str, int], before: Mapping[str, int] | None, interval_s: float) -> str:
    """Give the figures as lines, with rates where there is an earlier reading to compare with."""
    hits = figures.get("memory_hits", 0) + figures.get("disk_hits", 0)
    reads = hits + figures.get("misses", 0)
    lines = [f"{'hit rate':<40}{hits / reads:>14.1%}" if reads else f"{'hit rate':<40}{'-':>14}"]
    for name, figure in figures.items():
        shown = format_size(figure) if name.endswith("_bytes") else f"{figure:,}"
        rate = ""
        if before is not None and name in _PER_SECOND:
            rate = f"{(figure - before.get(name, 0)) / interval_s:>14,.0f}/s"
        lines.append(f"{name.replace('_', ' '):<40}{shown:>14}{rate}")
    return "\n".join(lines)
