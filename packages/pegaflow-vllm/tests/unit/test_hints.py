"""Hints of strangers are bounded, and what is unknown is ignored."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pegaflow_vllm._hints import Hints, read

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["pin_s", "next_use_s", "session_over", "prefetch", "await_blocks", "other"])


def request(hints: object = None, *actions: tuple[str, str, Any]) -> SimpleNamespace:
    names = ("action_type", "action_version", "payload")
    envelope = SimpleNamespace(actions=[SimpleNamespace(**dict(zip(names, action, strict=True))) for action in actions])
    return SimpleNamespace(kv_transfer_params={"pegaflow": hints, "other": 1}, kv_hints=envelope)


def test_hints_are_taken_from_the_parameters_of_a_request() -> None:
    given_hints = {"pin_s": 5, "next_use_s": 2.5, "session_over": True, "prefetch": True, "await_blocks": 3, "new": 1}
    assert read(request(given_hints), longest_s=60) == Hints(5.0, 2.5, True, True, 3)


def test_hints_are_taken_from_the_envelope_of_vllm() -> None:
    actions = [
        ("pegaflow.pin", "1", {"for_s": 7}),
        ("pegaflow.next_use", "1.2", {"in_s": 3}),
        ("pegaflow.prefetch", "1", {}),
    ]
    assert read(request(None, *actions), longest_s=60) == Hints(7.0, 3.0, False, True)
    assert read(request(None, ("pegaflow.session_over", "1", None)), longest_s=60) == Hints(is_over=True)


@pytest.mark.parametrize("action", [("pegaflow.pin", "2", {"for_s": 7}), ("other.pin", "1", {"for_s": 7})])
def test_actions_of_others_and_of_later_versions_are_ignored(action: tuple[str, str, Any]) -> None:
    assert read(request(None, action), longest_s=60) == Hints()


def test_a_pin_is_cut_to_the_longest_allowed() -> None:
    assert read(request({"pin_s": 1e300, "next_use_s": 10**400}), longest_s=60) == Hints(60, 60)


@given(st.dictionaries(KEYS, JSON) | JSON)
def test_no_hint_is_out_of_bounds_whatever_is_given(hints: object) -> None:
    taken = read(request(hints), longest_s=60)
    for seconds in (taken.pin_s, taken.next_use_s):
        assert seconds is None or 0 < seconds <= 60
    assert 0 <= taken.await_blocks < 1 << 31


def test_a_request_without_parameters_has_no_hints() -> None:
    assert read(SimpleNamespace(kv_transfer_params=None), longest_s=60) == Hints()
