"""What a worker measures and reports of its transfers."""

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import torch

from pegaflow import BlockCache, Lease
from pegaflow_vllm._device import HostPages
from pegaflow_vllm._link import Link
from pegaflow_vllm._metadata import Load, Piece, Save, StepMetadata
from pegaflow_vllm._worker import WorkerSide


def worker(there: int) -> WorkerSide:
    cache = SimpleNamespace(attach=lambda token: None, match_prefix=lambda names: there)
    link = SimpleNamespace(session=SimpleNamespace(cache=lambda namespace: cache))
    side = WorkerSide(
        cast(Link, link),
        identity="i",
        rank=0,
        groups=[["layer"]],
        num_blocks=8,
        backends=dict,
        block_tokens=32,
        load_threads=1,
    )
    side.register({"layer": torch.zeros(8, 32, 4)})
    return side


class Instant(HostPages):
    """Pages that are copied at once, and stored never."""

    def load(self, cache: BlockCache, lease: Lease, block_ids: Sequence[int | None]) -> list[int]:
        return []

    def save(self, cache: BlockCache, names: bytes, block_ids: Sequence[int], fence: Any) -> list[int]:
        return list(range(len(block_ids)))


def test_how_long_a_step_takes_is_not_how_long_a_load_takes(monkeypatch: Any) -> None:
    monkeypatch.setattr("pegaflow_vllm._device.HostPages", Instant)
    side = worker(there=0)
    piece = Piece(0, bytes(96), (1, 2, 3))
    side.start_loads(StepMetadata([Load("r", (piece,), ((1,),))]))
    while not side._loading["r"].is_over:
        pass
    threading.Event().wait(0.2)

    assert side.finished_loads(StepMetadata(tokens=1)) == ({"r"}, set())

    report = side.report()
    assert report is not None
    assert report.load_s_per_token is not None
    assert report.load_s_per_token * 96 < 0.1
    side.close()


def test_blocks_that_were_evicted_and_refused_take_nothing_from_what_was_saved(monkeypatch: Any) -> None:
    monkeypatch.setattr("pegaflow_vllm._device.HostPages", Instant)
    side = worker(there=2)
    side.start_saves(StepMetadata(saves=[Save(1, (Piece(0, bytes(64), (1, 2)),))]))
    side._saving[1].result(5)

    report = side.report()

    assert report is not None
    assert report.incomplete == {1}
    assert side.figures.data["refused_blocks"] == 2
    assert side.figures.data.get("saved_bytes", 0) == 0
    side.close()
