"""What tests of a flow look like: a few lines each, with the real nodes."""

import subprocess
from collections.abc import Callable

import pytest
from quotes import Order, build_flow

from penguiflow import FlowError, ValidationFailed
from penguiflow.testkit import assert_node_sequence, last_trace_id, run_one, simulate_error


async def test_a_small_order_gets_the_list_price() -> None:
    quote = await run_one(*build_flow(), Order(pieces=3))
    assert quote.cents == 800
    assert_node_sequence(last_trace_id(), ["receive", "route", "list_price", "round_up"])


async def test_a_large_order_is_negotiated() -> None:
    quote = await run_one(*build_flow(), Order(pieces=200))
    assert quote.cents == 40_000
    assert_node_sequence(last_trace_id(), ["receive", "route", "negotiate", "round_up"])


async def test_negotiation_is_tried_again() -> None:
    with simulate_error("negotiate", "NODE_TIMEOUT", times=2) as fault:
        quote = await run_one(*build_flow(), Order(pieces=200))
    assert fault.raised == 2
    assert quote.cents == 40_000


async def test_an_order_fails_when_negotiation_keeps_failing() -> None:
    with simulate_error("negotiate", "NODE_TIMEOUT", times=None), pytest.raises(FlowError) as failed:
        await run_one(*build_flow(), Order(pieces=200))
    assert (failed.value.code, failed.value.node_name) == ("NODE_TIMEOUT", "negotiate")


async def test_an_order_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="greater than 0"):
        await run_one(*build_flow(), {"pieces": 0})


async def test_a_wrong_expectation_shows_what_was_called_instead() -> None:
    await run_one(*build_flow(), Order(pieces=3))
    with pytest.raises(AssertionError, match=r"called: +receive → route → list_price"):
        assert_node_sequence(last_trace_id(), ["receive", "route", "negotiate", "round_up"])


def test_the_example_runs(run_example: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert run_example("testkit_demo").stdout == "3 pieces: 8.00\n200 pieces: 400.00\n"
    refused = run_example("testkit_demo", "0")
    assert refused.returncode == 1
    assert "[VALIDATION_FAILED] invalid input: pieces: Input should be greater than 0" in refused.stderr
