"""The replay command on a real trace and on hostile files."""

import gzip
import json
import lzma
from pathlib import Path

import pytest

from pegaflow.__main__ import main

TRACE = Path(__file__).parents[3] / "benchmarks" / "data" / "conversation_trace.jsonl.xz"

INDEPENDENT_PERCENT = {
    "fifo": (17.6, 24.9),
    "lru": (19.6, 27.9),
    "arc": (21.2, 28.4),
    "s3-fifo": (18.7, 24.5),
    "sieve": (12.8, 19.5),
    "w-tinylfu": (16.0, 20.3),
    "weighted-lru": (19.6, 27.9),
    "belady": (36.6, 36.6),
}
"""Hit rates of this trace with room for 5 % and 10 % of its blocks, from an implementation that shares no code.

Weighted LRU is LRU where all weights are equal.
"""


def replayed(capsys: pytest.CaptureFixture[str], path: Path, *options: str) -> dict[str, object]:
    assert main(["replay", str(path), "--json", *options]) == 0
    result: dict[str, object] = json.loads(capsys.readouterr().out)
    return result


def percent(result: dict[str, object], name: str = "hit_rate") -> float:
    value = result[name]
    assert isinstance(value, float)
    return 100 * value


@pytest.mark.parametrize("policy", INDEPENDENT_PERCENT)
def test_hit_rates_agree_with_an_independent_implementation(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    at_5, at_10 = INDEPENDENT_PERCENT[policy]
    small = replayed(capsys, TRACE, "--policy", policy, "--capacity", "0.05")
    large = replayed(capsys, TRACE, "--policy", policy, "--capacity", "0.1")
    assert (small["capacity_blocks"], large["capacity_blocks"]) == (9139, 18279)
    assert percent(small) == pytest.approx(at_5, abs=0.1)
    assert percent(large) == pytest.approx(at_10, abs=0.1)
    assert percent(small, "ideal_hit_rate") == pytest.approx(36.6, abs=0.05)


def test_being_told_a_minute_late_what_ended_nearly_reaches_the_optimum(capsys: pytest.CaptureFixture[str]) -> None:
    plain = percent(replayed(capsys, TRACE, "--policy", "next-use", "--hints", "none"))
    late = percent(replayed(capsys, TRACE, "--policy", "next-use", "--delay-s", "60"))
    assert plain == pytest.approx(19.6, abs=0.1)
    assert late > 32.5


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
def test_a_trace_may_be_packed(suffix: str, pack: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(pack)
    path = tmp_path / f"trace.jsonl{suffix}"
    lines = b'{"timestamp": 0, "hash_ids": [1, 2]}\n\n{"timestamp": 5, "hash_ids": [1, 2, 3]}\n'
    path.write_bytes(pack(lines))
    result = replayed(capsys, path, "--capacity", "1")
    assert (result["requests"], result["references"], result["hits"]) == (2, 5, 2)


def test_without_json_the_result_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"timestamp": 0, "hash_ids": [7]}\n{"timestamp": 1, "hash_ids": [7]}\n')
    assert main(["replay", str(path), "--capacity", "1"]) == 0
    printed = capsys.readouterr()
    assert "hit rate   50.0%" in printed.out
    assert printed.err == "", "no bar where there is no terminal"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1, 2]", "indices"),
        ('{"timestamp": 3}', "'hash_ids' is missing"),
        ('{"timestamp": -1, "hash_ids": []}', "negative"),
        ('{"timestamp": 3, "hash_ids": ["a"]}', "integer"),
        ('{"timestamp": 1, "hash_ids": [1]}', "order of time"),
        ('{"timestamp": 3, "hash_ids": [18446744073709551616]}', "big"),
        ("{", "Expecting"),
        ("\udcff", "utf-8"),
    ],
)
def test_a_line_that_is_no_request_is_named(
    line: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"timestamp": 2, "hash_ids": [1]}\n' + line + "\n", errors="surrogateescape")
    assert main(["replay", str(path)]) == 1
    error = capsys.readouterr().err
    assert f"{path}:2: " in error
    assert reason in error
    assert "hash_ids" in error


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: b"not packed at all"])
def test_a_file_that_cannot_be_unpacked_is_an_error(
    suffix: str, damage: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(damage)
    pack = gzip.compress if suffix == ".gz" else lzma.compress
    path = tmp_path / f"trace.jsonl{suffix}"
    path.write_bytes(damage(pack(b'{"timestamp": 0, "hash_ids": [1]}\n' * 100)))
    assert main(["replay", str(path)]) == 1
    assert "cannot unpack" in capsys.readouterr().err


def test_a_trace_that_is_missing_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path / "absent.jsonl")]) == 1
    assert "absent.jsonl" in capsys.readouterr().err


def test_an_empty_trace_hits_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.jsonl"
    path.touch()
    assert replayed(capsys, path)["hit_rate"] == 0.0


@pytest.mark.parametrize(
    "options",
    [
        ["--capacity", "0"],
        ["--capacity", "1.5"],
        ["--capacity", "1/0"],
        ["--capacity", "1e-999999999"],
        ["--delay-s", "-1"],
        ["--policy", "clock"],
    ],
)
def test_options_that_make_no_sense_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", "trace.jsonl", *options])
    assert options[1] in capsys.readouterr().err


def test_belady_without_knowledge_of_the_future_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(TRACE), "--policy", "belady", "--hints", "none"]) == 1
    assert "next-use" in capsys.readouterr().err
