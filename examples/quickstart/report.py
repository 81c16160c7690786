"""What is shown beside the answer: progress while files are read, and how long each node took."""

import sys

from penguiflow import FlowEvent
from penguiflow.middlewares import NodeTimings


class Progress:
    """Listens to the events of a flow, and says how many of its files are read."""

    def __init__(self, file_count: int) -> None:
        self._file_count = file_count
        self._read = 0

    def __call__(self, event: FlowEvent) -> None:
        if event.event_type != "node_end" or event.node_name != "retrieve":
            return
        self._read += 1
        complete = self._read == self._file_count
        if sys.stderr.isatty() or complete:
            end = "\n" if complete else "\r"
            print(f"read {self._read} of {self._file_count} files", end=end, file=sys.stderr, flush=True)


def timing_table(timings: NodeTimings) -> str:
    """Return a line for each node that ran: how often, and for how many milliseconds."""
    rows = [f"{'node':<12} {'runs':>6} {'total ms':>10} {'mean ms':>10} {'longest ms':>10}"]
    for node in timings.timings():
        times = f"{node.total_ms:>10.1f} {node.mean_ms:>10.1f} {node.longest_ms:>10.1f}"
        rows.append(f"{node.node_name:<12} {node.ended + node.failed:>6} {times}")
    return "\n".join(rows)
