"""What travels through a flow: defaults, bounds, ids, metadata."""

import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from penguiflow import WM, FinalAnswer, Headers, Message, PlanStep, StreamChunk, Thought, merge_meta, set_meta
from penguiflow.types import new_trace_id

METAS = st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3), max_size=4)


def test_a_message_fills_in_what_it_is_not_given() -> None:
    before = time.time()
    first, second = Message(payload="x"), Message(payload="x")

    assert first.trace_id != second.trace_id
    assert before <= first.ts <= time.time()
    assert (first.headers, first.deadline_s, first.meta) == (Headers(tenant="default"), None, {})


def test_a_message_holds_any_object_and_goes_through_json() -> None:
    assert isinstance(Message(payload=object()).payload, object)
    message = Message(payload={"n": [1]}, trace_id="t", ts=1.5, deadline_s=2.5, meta={"cost": 1})

    assert Message.model_validate_json(message.model_dump_json()) == message


def test_metadata_does_not_show_in_a_repr() -> None:
    assert "secret" not in repr(Message(payload="x", meta={"key": "secret"}))
    assert "secret" not in repr(StreamChunk(stream_id="s", seq=0, meta={"key": "secret"}))


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (StreamChunk, {"stream_id": "s", "seq": -1}),
        (PlanStep, {"kind": "web", "max_concurrency": 0}),
        (WM, {"query": "q", "hops": -1}),
        (WM, {"query": "q", "budget_tokens": -1}),
        (WM, {"query": "q", "confidence": 1.5}),
        (Headers, {"priority": "high"}),
        (Message, {}),
        (FinalAnswer, {}),
    ],
)
def test_a_value_out_of_bounds_is_refused(model: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model(**fields)


def test_controller_types_start_from_sensible_values() -> None:
    memory, thought = WM(query="q"), Thought(steps=[PlanStep(kind="retrieve")])

    assert (memory.hops, memory.budget_hops, memory.budget_tokens, memory.facts) == (0, 8, None, [])
    assert (thought.done, thought.steps[0].args, thought.steps[0].max_concurrency) == (False, {}, 1)
    assert FinalAnswer(text="x").citations == []


def test_setting_metadata_leaves_the_original_as_it_was() -> None:
    message = Message(payload="x", meta={"a": 1})

    changed = set_meta(message, "b", 2)

    assert (changed.meta, message.meta, changed.trace_id) == ({"a": 1, "b": 2}, {"a": 1}, message.trace_id)


@pytest.mark.parametrize(
    ("conflict", "merged"),
    [
        ("last", {"a": 2, "b": 1, "c": 3}),
        ("first", {"a": 1, "b": 1, "c": 3}),
        ("collect", {"a": [1, 2], "b": 1, "c": 3}),
    ],
)
def test_merging_follows_the_rule_for_conflicts(conflict: Any, merged: dict[str, Any]) -> None:
    metas = [{"a": 1, "b": 1}, {"a": 2, "b": 1}, {"c": 3}]

    assert merge_meta(metas, conflict=conflict) == merged


def test_merging_does_not_look_below_the_top() -> None:
    assert merge_meta([{"a": {"x": 1}}, {"a": {"y": 2}}]) == {"a": {"y": 2}}
    assert merge_meta([]) == {}


@given(METAS)
def test_merging_loses_no_key_and_invents_no_value(metas: list[dict[str, int]]) -> None:
    merged = merge_meta(metas)

    assert merged.keys() == set().union(*metas)
    assert all(any(meta.get(key) == value for meta in metas) for key, value in merged.items())


@given(METAS, METAS)
def test_merging_in_steps_gives_the_same_as_at_once(first: list[dict[str, int]], second: list[dict[str, int]]) -> None:
    assert merge_meta([merge_meta(first), merge_meta(second)]) == merge_meta(first + second)


FORKS = """
import os
from penguiflow.types import new_trace_id
new_trace_id()
child = os.fork()
os.write(1, f"{new_trace_id()}\\n".encode())
if child:
    os.waitpid(child, 0)
"""


def test_trace_ids_differ_also_after_a_fork() -> None:
    assert len({new_trace_id() for _ in range(100)}) == 100
    forked = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True).stdout.split()

    first, second = (trace_id[:20] for trace_id in forked)
    assert first != second


def test_values_that_cannot_be_compared_are_collected_side_by_side() -> None:
    class Array:
        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth of an array is ambiguous")

        __hash__ = None  # type: ignore[assignment]

    first, second = Array(), Array()

    merged = merge_meta([{"a": first}, {"a": second}, {"a": first}], conflict="collect")

    assert [value is wanted for value, wanted in zip(merged["a"], (first, second), strict=True)] == [True, True]
