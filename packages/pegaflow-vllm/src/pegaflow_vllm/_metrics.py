"""Figures in vLLM's own log and Prometheus endpoint."""

from collections.abc import Mapping
from typing import Any

from pegaflow_vllm._compat import Counter, Histogram, KVConnectorPromMetrics, KVConnectorStats

COUNTERS = {
    "queried_tokens": "Tokens for which the sidecar was asked",
    "hit_memory_tokens": "Tokens that were found in the memory of the sidecar",
    "hit_disk_tokens": "Tokens that were found on its disk",
    "computed_tokens": "Tokens that were found and computed, as that was expected to be faster",
    "loaded_bytes": "Bytes that were loaded",
    "saved_bytes": "Bytes that were saved",
    "refused_blocks": "Blocks for which the sidecar had no room",
    "failed_blocks": "Blocks that were found and could not be loaded",
    "disconnects": "How often the sidecar was lost",
    "dropped_hints": "Hints that were not passed on",
}
"""Sums, by the name after `vllm:pegaflow_`."""

TIMES = {
    "lookup_seconds": "How long the scheduler waited for an answer",
    "load_seconds": "How long the blocks of a request took to load",
    "save_seconds": "How long a save took in the background",
}
"""Distributions, by the name after `vllm:pegaflow_`."""

_BUCKETS = [0.0001, 0.00032, 0.001, 0.0032, 0.01, 0.032, 0.1, 0.32, 1.0, 3.2, 10.0]
_MOST_TIMES = 1024
"""The most times of a kind kept between two steps: a step has few."""


class Figures(KVConnectorStats):
    """What was counted since the last step: sums, and lists of times."""

    data: dict[str, Any]

    def count(self, name: str, amount: int) -> None:
        """Add to a sum."""
        if amount:
            self.data[name] = self.data.get(name, 0) + amount

    def time(self, name: str, seconds: float) -> None:
        """Add a time."""
        times = self.data.setdefault(name, [])
        if len(times) < _MOST_TIMES:
            times.append(seconds)

    def reset(self) -> None:
        """Begin again."""
        self.data = {}

    def aggregate(self, other: KVConnectorStats) -> "Figures":
        """Add what another process counted."""
        for name, value in other.data.items():
            if isinstance(value, list):
                self.data[name] = [*self.data.get(name, []), *value]
            else:
                self.count(name, value)
        return self

    def reduce(self) -> dict[str, int | float]:
        """Give sums, and the mean of each kind of time."""
        reduced: dict[str, int | float] = {}
        for name, value in sorted(self.data.items()):
            if not isinstance(value, list):
                reduced[name] = value
            elif value:
                reduced[f"mean_{name}"] = round(sum(value) / len(value), 6)
        return reduced

    def is_empty(self) -> bool:
        """Say whether nothing was counted."""
        return not self.data

    def take(self) -> "Figures | None":
        """Give what was counted, and begin again; None if that is nothing."""
        if self.is_empty():
            return None
        taken = Figures(data=self.data)
        self.reset()
        return taken


class Prometheus(KVConnectorPromMetrics):
    """The figures as Prometheus metrics, one series an engine."""

    def __init__(
        self,
        vllm_config: Any,
        metric_types: Mapping[Any, Any],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> None:
        super().__init__(vllm_config, metric_types, labelnames, per_engine_labelvalues)
        self._series: dict[str, dict[int, Any]] = {}
        for name, documentation in COUNTERS.items():
            metric = metric_types[Counter](
                name=f"vllm:pegaflow_{name}", documentation=f"{documentation}.", labelnames=labelnames
            )
            self._add(name, metric)
        for name, documentation in TIMES.items():
            metric = metric_types[Histogram](
                name=f"vllm:pegaflow_{name}",
                documentation=f"{documentation}.",
                buckets=_BUCKETS,
                labelnames=labelnames,
            )
            self._add(name, metric)

    def _add(self, name: str, metric: Any) -> None:
        self._series[name] = {engine: metric.labels(*values) for engine, values in self.per_engine_labelvalues.items()}

    def observe(self, transfer_stats_data: dict[str, Any], engine_idx: int = 0) -> None:
        """Take what an engine counted."""
        for name, value in transfer_stats_data.items():
            if name in COUNTERS:
                self._series[name][engine_idx].inc(value)
            elif name in TIMES:
                for seconds in value:
                    self._series[name][engine_idx].observe(seconds)
