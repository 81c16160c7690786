"""When a hit is worth loading."""

from pegaflow_vllm._metadata import WorkerReport

_FIXED_S = 0.001
"""What a load takes beside its bytes: a step of the engine, and some round trips to the sidecar."""

_NEWEST = 0.3
"""The weight of the newest measurement."""

_FORGOTTEN = 0.95
"""What is left of the measured time of loads each time a hit is computed: once slow, they are tried again later."""


class BreakEven:
    """Compares what loads and computations have taken, per token."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self.load_s_per_token: float | None = None
        self.compute_s_per_token: float | None = None

    def learn(self, report: WorkerReport) -> None:
        """Take the measurements of the workers."""
        self.load_s_per_token = _mixed(self.load_s_per_token, report.load_s_per_token)
        self.compute_s_per_token = _mixed(self.compute_s_per_token, report.compute_s_per_token)

    def is_worth_loading(self, tokens: int) -> bool:
        """Say whether loading so many tokens is expected to take no longer than computing them."""
        if self._factor == 0 or self.load_s_per_token is None or self.compute_s_per_token is None:
            return True
        load_s = _FIXED_S + tokens * self.load_s_per_token
        return load_s <= self._factor * tokens * self.compute_s_per_token

    def computed(self) -> None:
        """Take note that a hit was computed instead."""
        if self.load_s_per_token is not None:
            self.load_s_per_token *= _FORGOTTEN


def _mixed(known: float | None, measured: float | None) -> float | None:
    if known is None or measured is None:
        return known if measured is None else measured
    return known + _NEWEST * (measured - known)
