"""The general engine: what is put, and what comes back."""

from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import pegaflow
from pegaflow import PegaEngine

MIB = 1 << 20


@pytest.fixture(params=["embedded", "sidecar"])
def engine(request: pytest.FixtureRequest, serve: Callable[..., Any]) -> PegaEngine:
    if request.param == "sidecar":
        shared: PegaEngine = serve("--memory", str(4 * MIB)).connect()
        return shared
    return PegaEngine(memory_bytes=4 * MIB)


def test_an_engine_needs_no_arguments() -> None:
    with PegaEngine() as engine:
        engine.put("greeting", b"hello")
        assert engine.get("greeting") == b"hello"
    assert engine.closed


def test_text_and_bytes_name_the_same_key(engine: PegaEngine) -> None:
    engine.put("größe", b"1")
    assert engine.get("größe".encode()) == b"1"
    assert engine.scan("gr") == ["größe".encode()]


def test_what_is_removed_is_gone(engine: PegaEngine) -> None:
    engine.put("key", b"value")
    assert "key" in engine
    assert len(engine) == 1
    assert engine.remove("key")
    assert not engine.remove("key")
    assert engine.get("key") is None
    assert len(engine) == 0


@pytest.mark.parametrize("size", [0, 1, 100, 32 * 1024, MIB])
def test_values_of_every_size_come_back(engine: PegaEngine, size: int) -> None:
    value = bytes(i * 31 % 251 for i in range(size))
    buffer = bytearray(size + 3)
    engine.put("key", value)
    assert engine.get("key") == value
    assert engine.get_into("key", buffer) == size
    assert buffer == value + b"\0\0\0"
    view = engine.get_view("key")
    assert view is not None
    assert view == value


@pytest.mark.parametrize("value", [bytearray(b"12345678"), memoryview(b"12345678"), array("d", [1.5])])
def test_anything_that_lends_its_bytes_is_a_value(engine: PegaEngine, value: bytearray | memoryview) -> None:
    engine.put("key", value)
    assert engine.get("key") == bytes(value)


def test_text_is_no_value_and_the_error_says_what_to_do(engine: PegaEngine) -> None:
    with pytest.raises(TypeError, match=r"\.encode\(\)"):
        engine.put("key", "text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"\.encode\(\)"), engine.transaction() as tx:
        tx.put("key", "text")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [3, None, 1.5, ["key"], object()])
def test_what_is_no_key_is_refused(engine: PegaEngine, wrong: object) -> None:
    with pytest.raises(TypeError, match="a key is str or bytes"):
        engine.get(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", b"", "k" * 4097, b"k" * 100_000])
def test_empty_and_overlong_keys_are_refused(engine: PegaEngine, key: str | bytes) -> None:
    with pytest.raises(pegaflow.InvalidKeyError):
        engine.put(key, b"value")


def test_a_value_larger_than_memory_is_refused(engine: PegaEngine) -> None:
    with pytest.raises(pegaflow.TooLargeError) as caught:
        engine.put("key", bytes(4 * MIB + 1))
    assert caught.value.context["limit_bytes"] == 4 * MIB


@pytest.mark.parametrize("size", [-1, 0, 1 << 64, 1 << 200, 1 << 63])
def test_sizes_that_no_engine_can_have_are_refused(size: int) -> None:
    with pytest.raises(pegaflow.PegaError):
        PegaEngine(memory_bytes=size)


@pytest.mark.parametrize(
    ("name", "value"), [("policy", "best"), ("durability", "maybe"), ("compression", "rar"), ("on_full", "panic")]
)
def test_an_unknown_setting_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(pegaflow.InvalidArgumentError, match=value):
        PegaEngine(memory_bytes=MIB, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf"), -0.0])
def test_a_time_to_live_is_above_zero(engine: PegaEngine, ttl_s: float) -> None:
    with pytest.raises(pegaflow.InvalidArgumentError, match="ttl_s"):
        engine.put("key", b"value", ttl_s=ttl_s)


def test_a_value_is_gone_when_its_time_is_over(engine: PegaEngine) -> None:
    engine.put("brief", b"value", ttl_s=0.01)
    engine.put("lasting", b"value", ttl_s=3600)
    while "brief" in engine:
        pass
    assert engine.get("brief") is None
    assert engine.scan() == [b"lasting"]


def test_a_view_keeps_its_bytes_whatever_happens(engine: PegaEngine) -> None:
    engine.put("key", b"old" * 1000)
    view = engine.get_view("key")
    assert view is not None
    engine.put("key", b"new" * 1000)
    engine.close()
    assert view.readonly
    assert view == b"old" * 1000


def test_a_view_cannot_be_written_to(engine: PegaEngine) -> None:
    engine.put("key", b"value")
    view = engine.get_view("key")
    assert view is not None
    with pytest.raises(TypeError, match="read-only"):
        view[0] = 1


def test_reading_into_a_buffer_that_does_not_fit_changes_nothing(engine: PegaEngine) -> None:
    engine.put("key", b"value")
    buffer = bytearray(4)
    with pytest.raises(pegaflow.InvalidArgumentError, match="shorter"):
        engine.get_into("key", buffer)
    assert buffer == bytes(4)
    with pytest.raises(KeyError, match="none"):
        engine.get_into("none", buffer)
    with pytest.raises(TypeError, match="writable"):
        engine.get_into("key", b"12345")


def test_many_are_put_got_and_removed_at_once(engine: PegaEngine) -> None:
    engine.put_many({"a": b"1", "b": b"2"})
    engine.put_many((str(i), bytes([i])) for i in range(3))
    assert engine.get_many(["a", "2", "none"]) == [b"1", b"\x02", None]
    assert engine.remove_many(["a", "b", "none"]) == 2


def test_a_transaction_happens_whole_or_not_at_all(engine: PegaEngine) -> None:
    engine.put("old", b"1")
    with engine.transaction() as tx:
        tx.put("a", b"1")
        tx.put("b", b"2", ttl_s=60)
        tx.remove("old")
        assert "a" not in engine
    assert engine.scan() == [b"a", b"b"]


def test_a_transaction_that_fails_leaves_no_trace(engine: PegaEngine) -> None:
    with suppress(ZeroDivisionError), engine.transaction() as tx:
        tx.put("a", b"3")
        raise ZeroDivisionError
    tx = engine.transaction()
    tx.put("b", bytes(3 * MIB))
    tx.put("c", bytes(3 * MIB))
    with pytest.raises(pegaflow.TooLargeError):
        tx.commit()
    assert len(engine) == 0


def test_a_closed_engine_says_so(engine: PegaEngine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(pegaflow.ClosedError):
        engine.put("key", b"value")


def test_what_was_put_outlasts_the_engine(tmp_path: Path) -> None:
    with PegaEngine(tmp_path, memory_bytes=MIB, disk_bytes=8 * MIB) as engine:
        engine.put_many({str(i): bytes([i]) * 50_000 for i in range(60)})
        assert engine.get("0") == bytes(50_000)
        assert engine.stats()["demotions"] > 0
    with PegaEngine(tmp_path, memory_bytes=MIB, disk_bytes=8 * MIB, durability="sync") as engine:
        assert engine.get_many(str(i) for i in range(60)) == [bytes([i]) * 50_000 for i in range(60)]
        engine.flush()
        assert engine.stats()["disk_reads"] >= 60


def test_a_directory_has_one_engine_and_the_error_names_it(tmp_path: Path) -> None:
    with PegaEngine(tmp_path, memory_bytes=MIB, disk_bytes=MIB):
        with pytest.raises(pegaflow.LockedError) as caught:
            PegaEngine(tmp_path, memory_bytes=MIB, disk_bytes=MIB)
        assert isinstance(caught.value.context["holder_pid"], int)
    PegaEngine(tmp_path, memory_bytes=MIB, disk_bytes=MIB).close()


def test_a_full_disk_refuses_and_can_be_emptied(tmp_path: Path) -> None:
    with PegaEngine(tmp_path, memory_bytes=MIB, disk_bytes=MIB) as engine:
        with pytest.raises(pegaflow.DiskFullError):
            engine.put_many((str(i), bytes(10_000)) for i in range(1000))
        kept = engine.scan()
        assert all(engine.get_many(kept))
        assert engine.remove_many(kept) == len(kept)
        engine.put("room again", bytes(10_000))


def test_a_full_memory_refuses_if_it_must_not_evict() -> None:
    engine = PegaEngine(memory_bytes=MIB, on_full="error")
    engine.put("kept", bytes(MIB))
    with pytest.raises(pegaflow.MemoryFullError):
        engine.put("other", b"1")
    assert "kept" in engine


def test_a_scan_leaves_out_what_is_over_though_its_record_is_on_disk(tmp_path: Path) -> None:
    with PegaEngine(tmp_path, memory_bytes=MIB, disk_bytes=8 * MIB) as engine:
        engine.put("over", b"1", ttl_s=0.001)
        engine.put("stays", b"2", ttl_s=600)
        while "over" in engine:
            pass
        assert engine.scan() == [b"stays"]
    with PegaEngine(tmp_path, memory_bytes=MIB, disk_bytes=8 * MIB) as engine:
        assert engine.scan() == [b"stays"]
        assert len(engine) == 1


def test_an_evicting_engine_that_is_given_less_disk_drops_the_oldest(tmp_path: Path) -> None:
    with PegaEngine(tmp_path, memory_bytes=8 * MIB, disk_bytes=32 * MIB, on_full="evict") as engine:
        engine.put_many((str(i), bytes(300_000)) for i in range(100))
    with PegaEngine(tmp_path, memory_bytes=8 * MIB, disk_bytes=4 * MIB, on_full="evict") as engine:
        engine.put("new", b"1")
        assert engine.get("new") == b"1"
        assert "0" not in engine
        assert engine.stats()["disk_used_bytes"] <= 4 * MIB
