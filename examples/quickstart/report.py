"""What is shown beside the answer: progress while files are read, and how long each node took."""

import sys
from collections import defaultdict

from penguiflow import FlowEvent


class Report:
    """Listens to the events of a flow."""

    def __init__(self, file_count: int) -> None:
        self._file_count = file_count
        self._read = 0
        self._latencies_ms: dict[str, list[float]] = defaultdict(list)

    def __call__(self, event: FlowEvent) -> None:
        if event.event_type != "node_end" or event.node_name is None or event.latency_ms is None:
            return
        self._latencies_ms[event.node_name].append(event.latency_ms)
        if event.node_name == "retrieve":
            self._read += 1
            self._show_progress()

    def _show_progress(self) -> None:
        complete = self._read == self._file_count
        if sys.stderr.isatty() or complete:
            end = "\n" if complete else "\r"
            print(f"read {self._read} of {self._file_count} files", end=end, file=sys.stderr, flush=True)

    def timing_table(self) -> str:
        """Return a line for each node that ran: how often, and for how many milliseconds."""
        rows = [f"{'node':<12} {'runs':>6} {'total ms':>10} {'mean ms':>10} {'longest ms':>10}"]
        for name, times in self._latencies_ms.items():
            total = sum(times)
            rows.append(f"{name:<12} {len(times):>6} {total:>10.1f} {total / len(times):>10.1f} {max(times):>10.1f}")
        return "\n".join(rows)
