"""Blocks are kept until every rank has stored them."""

from types import SimpleNamespace
from typing import Any

from pegaflow_vllm._metadata import Piece, WorkerReport
from pegaflow_vllm._saving import Saving


def test_requests_of_one_id_end_each_for_itself() -> None:
    freed: list[Any] = []
    saving = Saving(world_size=2)
    saving.bind(SimpleNamespace(blocks=list(range(8)), touch=lambda blocks: None, free_blocks=freed.extend))
    first = saving.begin(1, [Piece(0, bytes(64), (1, 2))], None)
    second = saving.begin(2, [Piece(0, bytes(32), (3,))], None)

    assert saving.end(WorkerReport({first.number: 1, second.number: 1})) == ([], [])
    assert saving.end(WorkerReport({first.number: 1})) == ([1], [])

    assert freed == [2, 1]
    assert (saving.has(1), saving.has(2), len(saving)) == (False, True, 1)
