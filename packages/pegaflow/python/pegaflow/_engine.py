"""`pegaflow.PegaEngine`: the native engine, its transactions, and its twins for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pegaflow._executor import INLINE_BYTES, off_loop
from pegaflow._native import Change
from pegaflow._native import PegaEngine as NativeEngine
from pegaflow._transaction import Transaction

if TYPE_CHECKING:
    from pegaflow._types import Items, Key, Target, Value

_POLL_S = 1.0
"""How long a thread waits for changes before it looks whether anybody still awaits them."""


class PegaEngine(NativeEngine):
    """A key-value engine: in memory, or on disk with memory as its cache.

    Every method may be called from any thread. The methods that start with `a` are for asyncio: they neither block the
    loop nor start a thread for each call, and cancelling one leaves its operation to end by itself.
    """

    __slots__ = ()

    def transaction(self) -> Transaction:
        """Begin an atomic batch of writes: `with engine.transaction() as tx: …`."""
        return Transaction(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def aput(self, key: "Key", value: "Value", /, *, ttl_s: float | None = None) -> None:
        """Put, as `put` does."""
        if isinstance(value, bytes) and len(value) < INLINE_BYTES and not self._waits:
            self.put(key, value, ttl_s=ttl_s)
        else:
            await off_loop(self.put, key, value, ttl_s=ttl_s)

    async def aget(self, key: "Key", /) -> bytes | None:
        """Get, as `get` does."""
        is_known, value = self._get_now(key)
        return value if is_known else await off_loop(self.get, key)

    async def aget_into(self, key: "Key", buffer: "Target", /) -> int:
        """Get into a buffer, as `get_into` does. The buffer must not be used before this returns."""
        return await off_loop(self.get_into, key, buffer)

    async def aget_view(self, key: "Key", /) -> memoryview | None:
        """Get a view, as `get_view` does."""
        return await off_loop(self.get_view, key)

    async def aremove(self, key: "Key", /) -> bool:
        """Remove, as `remove` does."""
        return await off_loop(self.remove, key) if self._waits else self.remove(key)

    async def acontains(self, key: "Key", /) -> bool:
        """Say whether `key` is there, as `in` does."""
        return await off_loop(self.__contains__, key) if self._waits else key in self

    async def aput_many(self, items: "Items", /, *, ttl_s: float | None = None) -> None:
        """Put several, as `put_many` does."""
        await off_loop(self.put_many, items, ttl_s=ttl_s)

    async def aget_many(self, keys: "Iterable[Key]", /) -> list[bytes | None]:
        """Get several, as `get_many` does."""
        return await off_loop(self.get_many, keys)

    async def aremove_many(self, keys: "Iterable[Key]", /) -> int:
        """Remove several, as `remove_many` does."""
        return await off_loop(self.remove_many, keys)

    async def ascan(self, prefix: "Key" = b"", /) -> list[bytes]:
        """List keys, as `scan` does."""
        return await off_loop(self.scan, prefix)

    async def aflush(self) -> None:
        """Wait until everything is synced, as `flush` does."""
        await off_loop(self.flush)

    async def aclose(self) -> None:
        """Close, as `close` does."""
        await off_loop(self.close)

    async def asubscribe(self, from_seq: int | None = None) -> AsyncIterator[Change]:
        """Follow the engine, as `subscribe` does; each change is awaited in turn."""
        subscription = await off_loop(self.subscribe, from_seq)
        loop = asyncio.get_running_loop()
        # A follower waits all the time: on a thread of its own, or a few of them would keep all others from working.
        thread = ThreadPoolExecutor(1, thread_name_prefix="pegaflow-follower")
        try:
            while True:
                change = await loop.run_in_executor(thread, subscription.poll, _POLL_S)
                if change is not None:
                    yield change
        finally:
            thread.shutdown(wait=False, cancel_futures=True)
