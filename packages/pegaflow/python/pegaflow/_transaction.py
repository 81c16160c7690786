"""Several changes that become visible and durable together."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from pegaflow._native import PegaEngine as NativeEngine

if TYPE_CHECKING:
    from pegaflow._types import Key, Value


class Transaction:
    """An atomic batch of puts and removes: `with engine.transaction() as tx: …`.

    Nothing happens before the block ends; then all of it happens, in the order in which it was added, or none. A block
    that raises leaves no trace. It does not read: what it writes does not depend on what others write meanwhile.
    Values are copied at the end: do not change a buffer before.
    """

    def __init__(self, engine: NativeEngine) -> None:
        self._engine = engine
        self._writes: list[tuple[Key, Value | None, float | None]] = []

    def put(self, key: "Key", value: "Value", /, *, ttl_s: float | None = None) -> None:
        """Bind `key` to `value`, for `ttl_s` seconds if given."""
        if isinstance(value, str):
            raise TypeError("a value is bytes, not str; pass value.encode()")
        self._writes.append((key, value, ttl_s))

    def remove(self, key: "Key", /) -> None:
        """Remove `key`, if it is there."""
        self._writes.append((key, None, None))

    def commit(self) -> list[bool]:
        """Apply what was added; give for each write whether its key was there. The transaction is empty then.

        Raises:
            TooLargeError: The values together are larger than the arena.
            InvalidKeyError: A key is empty or too long.
            MemoryFullError, DiskFullError: There is no room.
        """
        existed = self._engine._commit(self._writes)
        self._writes = []
        return existed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
