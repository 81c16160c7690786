"""The names of blocks: hashes chained over the tokens and everything else that shapes their KV."""

import hashlib
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

HASH_BYTES = 32


@dataclass(frozen=True)
class Inset:
    """Something other than text in a prompt: an image, a sound."""

    identifier: str
    """A hash of its content."""

    start: int
    """Its first position in the prompt."""

    length: int


def root(identity: bytes, *, salt: str = "", adapter: bytes = b"") -> bytes:
    """Give what a chain begins with: prompts with another root share no block.

    Args:
        identity: Of the engine: model, weights, layout.
        salt: The tenant's, from the request.
        adapter: A hash over the content of the adapter; none for the model itself.
    """
    parts = (b"pegaflow-vllm/1", identity, salt.encode("utf-8", "surrogatepass"), adapter)
    return hashlib.sha256(b"".join(struct.pack("<Q", len(part)) + part for part in parts)).digest()


class Chain:
    """The names of the full blocks of one request, in their order, as far as its tokens are known."""

    def __init__(self, start: bytes, block_tokens: int, insets: Sequence[Inset] = ()) -> None:
        self._tip = start
        self._block_tokens = block_tokens
        self._insets = sorted(insets, key=lambda inset: inset.start)
        self._packed = bytearray()

    def __len__(self) -> int:
        return len(self._packed) // HASH_BYTES

    def extend(self, tokens: Sequence[int]) -> None:
        """Name the blocks that these tokens, all of the request, fill beyond those that have names."""
        size = self._block_tokens
        known, full = len(self), len(tokens) // size
        if full <= known:
            return
        content = memoryview(array("q", tokens[known * size : full * size])).cast("B")
        step = size * 8
        for index in range(known, full):
            digest = hashlib.sha256(self._tip)
            digest.update(content[(index - known) * step : (index - known + 1) * step])
            if self._insets:
                digest.update(self._extras(index * size))
            self._tip = digest.digest()
            self._packed += self._tip

    def packed(self, start: int, end: int) -> bytes:
        """Give the names of blocks `start` to `end`, one after the other."""
        return bytes(self._packed[start * HASH_BYTES : end * HASH_BYTES])

    def name(self, index: int) -> bytes:
        """Give the name of one block."""
        return self.packed(index, index + 1)

    def _extras(self, start: int) -> bytes:
        end = start + self._block_tokens
        found = b""
        for inset in self._insets:
            if inset.start < end and start < inset.start + inset.length:
                identifier = inset.identifier.encode()
                found += struct.pack("<qQ", inset.start - start, len(identifier)) + identifier
        return found
