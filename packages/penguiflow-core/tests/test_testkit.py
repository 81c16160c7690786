"""The test kit, used as a developer would use it."""

import asyncio
from typing import Any

import pytest

from penguiflow import (
    Context,
    FlowDefinitionError,
    FlowError,
    Message,
    ModelRegistry,
    MultipleResults,
    Node,
    NodePolicy,
    PenguiFlow,
    UnknownTarget,
    create,
    join_k,
    predicate_router,
)
from penguiflow import testkit as kit
from penguiflow.testkit import assert_node_sequence, last_trace_id, run_one, simulate_error


async def strip(text: str, ctx: Context) -> str:
    return text.strip()


async def shout(text: str, ctx: Context) -> str:
    return text.upper()


def linear(**policy: Any) -> PenguiFlow:
    return create(Node(strip).to(Node(shout, policy=NodePolicy(backoff_base=0, **policy))))


async def test_a_linear_flow() -> None:
    assert await run_one(linear(), None, " hi ") == "HI"
    assert_node_sequence(last_trace_id(), ["strip", "shout"])


async def test_a_branching_flow() -> None:
    route = predicate_router("route", lambda text: "strip" if text.startswith(" ") else "shout")
    flow = create(route.to(Node(strip), Node(shout)))
    assert await run_one(flow, None, "hi") == "HI"
    assert_node_sequence(last_trace_id(), ["route", "shout"])


async def test_a_flow_that_fans_out_and_joins() -> None:
    split, join = Node(strip, name="split"), join_k("join", 2)
    left, right = Node(shout, name="left"), Node(shout, name="right")
    flow = create(split.to(left, right), left.to(join), right.to(join))
    assert await run_one(flow, None, "a ") == ["A", "A"]
    assert_node_sequence(last_trace_id(), [split, left, right, join, join])


async def test_a_typed_flow_and_its_message() -> None:
    registry = ModelRegistry()
    registry.register("strip", str, str)
    registry.register("shout", str, str)

    answer = await run_one(linear(), registry, Message(payload=" hi ", trace_id="typed"))

    assert answer.payload == "HI"
    assert_node_sequence("typed", ["strip", "shout"])


async def test_an_error_is_simulated_until_the_retries_get_through() -> None:
    flow = linear(max_retries=2)
    with simulate_error("shout", "NODE_TIMEOUT", times=2) as fault:
        assert await run_one(flow, None, "hi") == "HI"

    assert fault.raised == 2
    assert_node_sequence(last_trace_id(), ["strip", "shout"])
    assert_node_sequence(last_trace_id(), ["strip", "shout", "shout", "shout"], retries=True)


async def test_a_simulated_error_without_retries_fails_the_trace_with_its_code() -> None:
    with simulate_error("shout", "NO_TOKENS_LEFT"), pytest.raises(FlowError, match="simulated") as caught:
        await run_one(linear(), None, "hi")

    assert (caught.value.code, caught.value.node_name) == ("NO_TOKENS_LEFT", "shout")


async def test_an_exception_may_be_simulated_for_ever() -> None:
    with (
        simulate_error("strip", "unused", times=None, exception=ConnectionError("reset")) as fault,
        pytest.raises(FlowError, match="ConnectionError: reset"),
    ):
        await run_one(create(Node(strip, policy=NodePolicy(max_retries=3, backoff_base=0))), None, "hi")

    assert fault.raised == 4


async def test_nothing_is_simulated_outside_the_block() -> None:
    flow = linear()
    with simulate_error("shout", "X"), pytest.raises(FlowError):
        await run_one(flow, None, "hi")

    assert await run_one(flow, None, "hi") == "HI"
    assert flow.nodes["shout"].func is shout


async def test_several_errors_may_be_simulated_at_once() -> None:
    flow = linear(max_retries=1)
    with simulate_error("shout", "A") as first, simulate_error("shout", "B") as second, pytest.raises(FlowError):
        await run_one(flow, None, "hi")

    assert (first.raised, second.raised) == (1, 1)


async def test_a_simulated_error_needs_a_node_of_the_flow() -> None:
    flow = linear()
    with simulate_error("whisper", "X"), pytest.raises(UnknownTarget, match="'whisper'"):
        await run_one(flow, None, "hi")

    assert await run_one(flow, None, "hi") == "HI"


def test_a_simulated_error_happens_at_least_once() -> None:
    with pytest.raises(FlowDefinitionError, match="times=0"), simulate_error("shout", "X", times=0):
        pass


async def test_a_sequence_that_differs_is_shown_as_a_difference() -> None:
    await run_one(linear(), None, Message(payload="hi", trace_id="differs"))

    with pytest.raises(AssertionError) as caught:
        assert_node_sequence("differs", ["strip", "whisper", "shout"])

    assert "expected: strip → whisper → shout\ncalled:   strip → shout" in str(caught.value)
    assert "  - whisper" in str(caught.value)


def test_a_trace_that_was_not_run_is_an_error() -> None:
    with pytest.raises(AssertionError, match="ran no trace 'nobody'"):
        assert_node_sequence("nobody", [])


async def test_a_trace_that_takes_too_long_names_the_nodes_it_called() -> None:
    async def hang(text: str, ctx: Context) -> None:
        await asyncio.Event().wait()

    flow = create(Node(strip).to(Node(hang)))
    with pytest.raises(TimeoutError, match=r"longer than 0.05 s; it had called strip → hang"):
        await run_one(flow, None, "hi", timeout_s=0.05)

    assert not flow.running


async def test_two_values_are_not_one() -> None:
    flow = create(Node(strip).to(Node(shout, name="a"), Node(shout, name="b")))
    with pytest.raises(MultipleResults) as caught:
        await run_one(flow, None, "hi")

    assert caught.value.partial == [("a", "HI"), ("b", "HI")]


async def test_a_flow_that_runs_already_is_refused() -> None:
    async with linear() as flow:
        with pytest.raises(FlowDefinitionError, match="starts and stops the flow itself"):
            await run_one(flow, None, "hi")


async def test_many_runs_keep_a_bounded_number_of_traces() -> None:
    flow = linear()
    for number in range(300):
        await run_one(flow, None, Message(payload="hi", trace_id=f"bounded-{number}"))

    assert len(kit._calls) == 256
    assert_node_sequence("bounded-299", ["strip", "shout"])
    assert not flow._listeners


def test_before_the_first_run_there_is_no_last_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit, "_calls", type(kit._calls)())

    with pytest.raises(LookupError, match="run_one"):
        last_trace_id()
