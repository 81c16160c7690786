"""Engines under each eviction policy, with more values than memory holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pegaflow import InvalidArgumentError, PegaEngine
from pegaflow._native import policy_names

MEMORY_BYTES = 4 << 20
VALUE_BYTES = 64 << 10
FIT = MEMORY_BYTES // VALUE_BYTES


def value_of(number: int, size_bytes: int = VALUE_BYTES) -> bytes:
    return number.to_bytes(4, "big") * (size_bytes // 4)


@pytest.mark.parametrize("policy", policy_names())
def test_a_full_engine_keeps_most_of_what_fits_and_never_a_wrong_byte(policy: str) -> None:
    engine = PegaEngine(memory_bytes=MEMORY_BYTES, policy=policy)
    for number in range(5 * FIT):
        engine.put(f"{number}", value_of(number))
        engine.get(f"{number // 3}")
    found = [number for number in range(5 * FIT) if engine.get(f"{number}") is not None]
    assert all(engine.get(f"{number}") == value_of(number) for number in found)
    assert FIT * 3 // 4 <= len(found) <= FIT
    engine.close()


@pytest.mark.parametrize("policy", policy_names())
def test_a_value_that_is_viewed_outlives_any_pressure(policy: str) -> None:
    engine = PegaEngine(memory_bytes=MEMORY_BYTES, policy=policy)
    engine.put("viewed", value_of(7))
    view = engine.get_view("viewed")
    for number in range(3 * FIT):
        engine.put(f"{number}", value_of(number))
    assert bytes(view or b"") == value_of(7)
    del view
    engine.close()


@given(
    policy=st.sampled_from(policy_names()),
    steps=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 200_000), st.booleans()), max_size=80),
)
def test_what_is_found_is_what_was_put_last(policy: str, steps: list[tuple[int, int, bool]]) -> None:
    engine = PegaEngine(memory_bytes=1 << 20, policy=policy)
    model: dict[str, bytes] = {}
    for number, size_bytes, is_removed in steps:
        key = f"{number}"
        if is_removed:
            engine.remove(key)
            model.pop(key, None)
        else:
            model[key] = value_of(number, size_bytes)
            engine.put(key, model[key])
            assert engine.get(key) == model[key]
    for number in range(61):
        assert engine.get(f"{number}") in (None, model.get(f"{number}"))
    engine.close()


def test_lru_evicts_what_was_used_least_recently() -> None:
    engine = PegaEngine(memory_bytes=MEMORY_BYTES, policy="lru")
    for number in range(FIT // 2):
        engine.put(f"{number}", value_of(number))
    for number in range(FIT, 2 * FIT):
        engine.get("0")
        engine.put(f"{number}", value_of(number))
    assert "0" in engine
    assert "1" not in engine
    engine.close()


def test_a_policy_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InvalidArgumentError, match=r"clock.*s3-fifo"):
        PegaEngine(policy="clock")
