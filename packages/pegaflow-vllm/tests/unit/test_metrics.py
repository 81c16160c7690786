"""Figures add up across steps and processes."""

from functools import partial
from types import SimpleNamespace

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pegaflow_vllm._metrics import Figures, Prometheus


def test_figures_are_taken_once() -> None:
    figures = Figures()
    assert figures.take() is None
    figures.count("loaded_bytes", 0)
    assert figures.is_empty()
    figures.count("loaded_bytes", 5)
    figures.time("load_seconds", 0.5)
    taken = figures.take()
    assert taken is not None
    assert (taken.data, figures.data) == ({"loaded_bytes": 5, "load_seconds": [0.5]}, {})


def test_ranks_are_added_and_times_averaged() -> None:
    one, two = (
        Figures(data={"loaded_bytes": 5, "load_seconds": [0.5]}),
        Figures(data={"loaded_bytes": 1, "load_seconds": [1.5]}),
    )
    assert one.aggregate(two).reduce() == {"loaded_bytes": 6, "mean_load_seconds": 1.0}


def test_a_list_of_times_is_bounded() -> None:
    figures = Figures()
    for _ in range(5000):
        figures.time("load_seconds", 0.1)
    assert len(figures.data["load_seconds"]) == 1024


def test_prometheus_shows_sums_and_times_for_each_engine() -> None:
    registry = CollectorRegistry()
    types = {kind: partial(kind, registry=registry) for kind in (Counter, Gauge, Histogram)}
    shown = Prometheus(SimpleNamespace(kv_transfer_config=None), types, ["engine"], {0: ["0"], 1: ["1"]})
    shown.observe({"loaded_bytes": 5, "load_seconds": [0.5, 0.7], "of another release": 1}, 1)
    shown.observe({"loaded_bytes": 2}, 1)
    value = partial(registry.get_sample_value, labels={"engine": "1"})
    assert value("vllm:pegaflow_loaded_bytes_total") == 7
    assert value("vllm:pegaflow_load_seconds_count") == 2
    assert registry.get_sample_value("vllm:pegaflow_loaded_bytes_total", {"engine": "0"}) == 0
