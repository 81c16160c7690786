"""`pegaflow.BlockCache`: the native block cache, and its twins for asyncio."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pegaflow._executor import in_background, off_loop
from pegaflow._native import BlockCache as NativeCache
from pegaflow._native import Job, Lease, PageList

if TYPE_CHECKING:
    from pegaflow._types import BlockSource, BlockTarget, Hashes


class BlockCache(NativeCache):
    """The blocks of one namespace of an engine: of one size, named by hashes that the caller has chained.

    Every method may be called from any thread. The methods that start with `a` are for asyncio and do not block the
    loop; cancelling one leaves its transfer running, and the buffers in use, until it is done.
    """

    __slots__ = ()

    async def aload_into(self, lease: Lease, buffers: "Sequence[BlockTarget] | PageList") -> list[int]:
        """Load leased blocks, as `load_into` does. The buffers must not be used before this returns."""
        return await _outcome(self.start_load(lease, buffers))

    async def astore(self, hashes: "Hashes", buffers: "Sequence[BlockSource] | PageList") -> list[int]:
        """Store blocks, as `store` does. The buffers must not be changed before this returns."""
        return await _outcome(self.start_store(hashes, buffers))

    async def alease(self, hashes: "Hashes", *, max_age_s: float | None = None) -> Lease:
        """Lease blocks, as `lease` does."""
        return await off_loop(self.lease, hashes, max_age_s=max_age_s)


async def _outcome(job: Job) -> list[int]:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def tell() -> None:
        # The loop may have ended while the job ran: then nobody waits.
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)

    job.add_done_callback(tell)
    try:
        await done.wait()
    except asyncio.CancelledError:
        # The buffers are in use until the job is done, so it is kept until then, without waiting for it here.
        in_background(job.wait)
        raise
    return job.result()
