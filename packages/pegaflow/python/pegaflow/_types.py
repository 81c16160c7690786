"""What the operations of pegaflow take."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    # In the standard library from Python 3.12 on; type checkers know it everywhere.
    Buffer = object


class Tensor(Protocol):
    """A tensor that lends its memory by DLPack: contiguous, and in the memory of the CPU."""

    def __dlpack__(self) -> object:
        """Lend the memory."""
        ...

    def __dlpack_device__(self) -> tuple[int, int]:
        """Say where the memory is."""
        ...


Key: TypeAlias = str | bytes
"""A key: 1 to 4096 bytes, or the text whose UTF-8 they are."""

Value: TypeAlias = Buffer | Tensor
"""Bytes to be stored: contiguous."""

Items: TypeAlias = Mapping[str, Value] | Mapping[bytes, Value] | Mapping[Key, Value] | Iterable[tuple[Key, Value]]
"""Keys and what to bind them to."""

Target: TypeAlias = Buffer | Tensor
"""Memory to be written to: contiguous and writable."""

Hashes: TypeAlias = Sequence[bytes] | Buffer
"""The names of blocks, 16 to 32 bytes each: one by one, or packed into one buffer."""

BlockSource: TypeAlias = Value | Sequence[Value]
"""The bytes of one block: one run, or several that follow each other, such as one for each layer."""

BlockTarget: TypeAlias = Target | Sequence[Target] | None
"""Where the bytes of one block go; None for a block that is not wanted."""
