"""Which blocks of a prompt every rank has, for every group of layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pegaflow import Lease
from pegaflow_vllm._chain import Chain
from pegaflow_vllm._link import Session
from pegaflow_vllm._metadata import Piece, RankNames

_MOST_TRIES = 8
"""How often the end of a hit may move before the blocks that windows need are all there; then it is no hit."""


@dataclass(frozen=True)
class Leased:
    """Blocks kept for a load."""

    leases: tuple[Lease, ...]
    tokens: tuple[tuple[int, ...], ...]
    """For each rank, and there for each piece."""

    on_disk: int
    """How many of the blocks of the first piece are on disk only."""


class Lookup:
    """Asks the sidecar about the blocks of a chain. All of it may raise what the sidecar raises."""

    def __init__(self, block_tokens: int, windows: Sequence[int | None]) -> None:
        self._block_tokens = block_tokens
        self._windows = windows
        self._ranks: Mapping[int, RankNames] = {}

    def know_ranks(self, ranks: Mapping[int, RankNames]) -> None:
        """Take where the ranks keep their blocks."""
        self._ranks = ranks

    @property
    def namespaces(self) -> list[str]:
        """Every namespace of the engine."""
        return [namespace for names in self._ranks.values() for namespace in names.namespaces]

    def start_of_window(self, group: int, end: int) -> int:
        """Give the first block that the layers of a group read to compute the token after block `end`."""
        window = self._windows[group]
        return 0 if window is None else max(0, (end * self._block_tokens - window + 1) // self._block_tokens)

    def find(self, session: Session, chain: Chain, first: int, last: int) -> int:
        """Give the end of the longest hit that begins with block `first`. Changes nothing."""
        for group, window in enumerate(self._windows):
            for names in self._ranks.values():
                if window is None and last > first:
                    last = first + session.cache(names.namespaces[group]).match_prefix(chain.packed(first, last))
        if all(window is None for window in self._windows):
            return last
        for _ in range(_MOST_TRIES):
            end = self._windows_end(session, chain, first, last)
            if end == last:
                return last
            last = end
        return first

    def _windows_end(self, session: Session, chain: Chain, first: int, last: int) -> int:
        """Give `last` if the blocks that its windows need are there; otherwise the first block that is missing."""
        for group, window in enumerate(self._windows):
            if window is None:
                continue
            start = max(first, self.start_of_window(group, last))
            for names in self._ranks.values():
                found = session.cache(names.namespaces[group]).match_prefix(chain.packed(start, last))
                if start + found < last:
                    return max(first, start + found)
        return last

    def lease(self, session: Session, pieces: Sequence[Piece], max_age_s: float) -> Leased:
        """Keep the blocks of these pieces, for every rank."""
        leases: list[Lease] = []
        tokens = []
        for rank in sorted(self._ranks):
            namespaces = self._ranks[rank].namespaces
            taken = [session.cache(namespaces[piece.group]).lease(piece.names, max_age_s=max_age_s) for piece in pieces]
            leases += taken
            tokens.append(tuple(lease.token for lease in taken))
        return Leased(tuple(leases), tuple(tokens), sum(leases[0].on_disk))
