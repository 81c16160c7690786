"""What requests have in common, which none of them alone may give up."""

from collections import deque
from collections.abc import Iterable

from pegaflow_vllm._chain import HASH_BYTES

_MOST_RECENT = 64
"""How many requests are remembered that ended: those of sessions between two turns, whose next one begins alike."""


class Recent:
    """The names of the blocks of requests that ended last."""

    def __init__(self) -> None:
        self._ended: deque[tuple[str | None, bytes]] = deque(maxlen=_MOST_RECENT)

    def end(self, names: bytes, session: str | None) -> None:
        """Take note of a request that ended, and whose session goes on."""
        self._ended.append((session, names))

    def own(self, names: bytes, session: str | None, live: Iterable[bytes]) -> bytes:
        """Give the names behind the last block that a session shares with a live request, or with another session.

        Where one chain is the beginning of the other, both are of one session, as far as anyone can tell.
        """
        others = [
            ended
            for its_session, ended in self._ended
            if not (names.startswith(ended) or ended.startswith(names)) and (session is None or its_session != session)
        ]
        shared = max((_common(names, other) for other in (*live, *others)), default=0)
        return names[shared * HASH_BYTES :]


def _common(one: bytes, other: bytes) -> int:
    """Count the first blocks that two chains share: where a name is equal, those before it are."""
    low, high = 0, min(len(one), len(other)) // HASH_BYTES
    while low < high:
        middle = (low + high) // 2
        at = slice(middle * HASH_BYTES, (middle + 1) * HASH_BYTES)
        low, high = (middle + 1, high) if one[at] == other[at] else (low, middle)
    return low
