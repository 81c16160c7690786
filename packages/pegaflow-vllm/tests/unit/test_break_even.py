"""A hit is loaded unless computing it is expected to be faster."""

from pegaflow_vllm._break_even import BreakEven
from pegaflow_vllm._metadata import WorkerReport


def measured(load_s: float, compute_s: float, factor: float = 1.0) -> BreakEven:
    even = BreakEven(factor)
    even.learn(WorkerReport(load_s_per_token=load_s, compute_s_per_token=compute_s))
    return even


def test_before_anything_is_measured_every_hit_is_loaded() -> None:
    assert BreakEven(1.0).is_worth_loading(1)


def test_what_takes_longer_to_load_than_to_compute_is_computed() -> None:
    assert measured(1e-5, 1e-3).is_worth_loading(100)
    assert not measured(1e-3, 1e-5).is_worth_loading(100)


def test_few_tokens_are_not_worth_a_step() -> None:
    assert not measured(1e-6, 1e-5).is_worth_loading(16)
    assert measured(1e-6, 1e-5).is_worth_loading(1600)


def test_the_factor_moves_the_break_even_and_zero_lifts_it() -> None:
    assert measured(3e-3, 1e-3, factor=4.0).is_worth_loading(1000)
    assert measured(1.0, 1e-9, factor=0).is_worth_loading(1)


def test_a_sidecar_that_was_slow_is_tried_again_later() -> None:
    even = measured(1.0, 1e-3)
    refused = 0
    while not even.is_worth_loading(1000):
        even.computed()
        refused += 1
    assert 10 < refused < 500
