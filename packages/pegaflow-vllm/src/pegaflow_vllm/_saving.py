"""Blocks that are being saved, which vLLM must not use again until they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pegaflow_vllm._events import Saved
from pegaflow_vllm._metadata import Piece, Save, WorkerReport


@dataclass
class _Kept:
    owner: int
    blocks: list[Any]
    told: Saved | None
    ranks: int = 0
    is_complete: bool = True


class Saving:
    """The saves under way, each with a reference to its blocks in vLLM's block pool."""

    def __init__(self, world_size: int) -> None:
        self._world_size = world_size
        self._kept: dict[int, _Kept] = {}
        self._of_owner: dict[int, int] = {}
        self._next = 0
        self._pool: Any = None

    def bind(self, pool: Any) -> None:
        """Take vLLM's block pool."""
        self._pool = pool

    def __len__(self) -> int:
        return len(self._kept)

    def has(self, owner: int) -> bool:
        """Say whether saves of a request are under way."""
        return owner in self._of_owner

    def begin(self, owner: int, pieces: Sequence[Piece], told: Saved | None) -> Save:
        """Keep the blocks of a save. They are held by a request of this step, so that each has a reference already.

        Args:
            owner: A number that the request has for itself. Saves outlive it, and its id may be used again.
            pieces: The blocks.
            told: What is told of them once they are stored.
        """
        blocks = [self._pool.blocks[block_id] for piece in pieces for block_id in piece.block_ids]
        self._pool.touch(blocks)
        number, self._next = self._next, self._next + 1
        self._kept[number] = _Kept(owner, blocks, told)
        self._of_owner[owner] = self._of_owner.get(owner, 0) + 1
        return Save(number, tuple(pieces))

    def end(self, report: WorkerReport) -> tuple[list[int], list[Saved]]:
        """Give back the blocks of saves that every rank is done with.

        Returns:
            The owners of whom no save is under way any more, and what is stored now.
        """
        over, stored = [], []
        for number, ranks in report.saves.items():
            kept = self._kept[number]
            kept.ranks += ranks
            kept.is_complete &= number not in report.incomplete
            if kept.ranks < self._world_size:
                continue
            del self._kept[number]
            # From the end of the chain, so that its start is evicted last.
            self._pool.free_blocks(reversed(kept.blocks))
            if kept.is_complete and kept.told is not None:
                stored.append(kept.told)
            self._of_owner[kept.owner] -= 1
            if not self._of_owner[kept.owner]:
                del self._of_owner[kept.owner]
                over.append(kept.owner)
        return over, stored
