"""Values of 100 bytes: what a call costs, when there is next to nothing to copy."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from benchmarks.kv._results import Measurement
from benchmarks.kv._rounds import Work, interleave
from pegaflow import PegaEngine

_COUNT = 50_000
_VALUE = b"v" * 100
_MOST_TIMES_DICT = 12.0
_LEAST_RUST_RATE = 1e6


def measure(rounds: int, missing: dict[str, str]) -> Iterator[Measurement]:
    """Put and get every key once, in Python and in Rust."""
    keys = [f"key-{number}" for number in range(_COUNT)]
    with PegaEngine(memory_bytes=64 << 20) as engine:
        values: dict[str, bytes] = {}
        cases: dict[str, Work] = {"dict": lambda: _dict(values, keys), "pegaflow": lambda: _pairs(engine, keys)}
        try:
            moka_py: Any = importlib.import_module("moka_py")
        except ImportError as error:
            missing["moka-py"] = str(error)
        else:
            cache = moka_py.Moka(_COUNT * 2)
            cases["moka-py"] = lambda: _moka(cache, keys)
        samples = interleave(cases, amount=_COUNT, rounds=rounds)
    for name, taken in samples.items():
        times_dict = 1 / taken.ratio_to(samples["dict"])
        ahead = "moka-py" not in samples or taken.rate > samples["moka-py"].rate
        yield Measurement(
            suite="small",
            what="put and get 100 B, Python",
            contender=name,
            value=1e9 / taken.rate,
            unit="ns",
            ratio=times_dict,
            floor="the time of dict",
            target=f"<= {_MOST_TIMES_DICT:g}x dict, ahead of moka-py" if name == "pegaflow" else "",
            met=times_dict <= _MOST_TIMES_DICT and ahead if name == "pegaflow" else None,
        )
    yield from _rust(missing)


def _pairs(engine: PegaEngine, keys: list[str]) -> None:
    put, get = engine.put, engine.get
    for key in keys:
        put(key, _VALUE)
        get(key)


def _dict(values: dict[str, bytes], keys: list[str]) -> None:
    for key in keys:
        values[key] = _VALUE
        values.get(key)


def _moka(cache: Any, keys: list[str]) -> None:
    put, get = cache.set, cache.get
    for key in keys:
        put(key, _VALUE)
        get(key)


def _rust(missing: dict[str, str]) -> Iterator[Measurement]:
    cargo = shutil.which("cargo")
    if cargo is None:
        missing["rust"] = "cargo is not on PATH"
        return
    command = [cargo, "run", "--release", "--quiet", "--package", "pega-core", "--example", "speed"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.search(r"100 B: .*put and get ([\d.]+) M/s", printed)
    if found is None:
        raise ValueError(f"the example 'speed' printed no rate of put and get:\n{printed}")
    rate = float(found[1]) * 1e6
    yield Measurement(
        suite="small",
        what="put and get 100 B, Rust, 1 thread",
        contender="pega-core",
        value=rate / 1e6,
        unit="M/s",
        target=f">= {_LEAST_RUST_RATE / 1e6:g} M/s",
        met=rate >= _LEAST_RUST_RATE,
    )
