"""Threads for operations that may wait, shared by all engines of the process."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_THREADS = 8
"""Enough to share syncs and keep a disk busy; each is started when it is first needed."""

INLINE_BYTES = 32 * 1024
"""Copies below this take microseconds: less than handing them to a thread."""


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="pegaflow")


# A child that was forked has none of the threads.
os.register_at_fork(after_in_child=_pool.cache_clear)


async def off_loop(work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run `work` in a thread; the loop goes on meanwhile.

    Cancelling the await leaves `work` running to its end: a write then happens or not as if it had not been awaited.
    """
    return await asyncio.get_running_loop().run_in_executor(_pool(), partial(work, *args, **kwargs))


def in_background(work: Callable[[], object], /) -> None:
    """Run `work` in a thread; nobody waits for it."""
    _pool().submit(work)
