"""Figures add up across steps and processes."""

from pegaflow_vllm._metrics import Figures


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
