"""The native half of pegaflow. Use the names that `pegaflow` exports."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self, final

from typing_extensions import disjoint_base

from pegaflow._types import BlockSource, BlockTarget, Hashes, Items, Key, Target, Value

__all__ = [
    "MAX_KEY_BYTES",
    "BlockCache",
    "BlockPages",
    "Change",
    "EngineHandle",
    "Job",
    "Lease",
    "PageList",
    "PegaEngine",
    "Replay",
    "SidecarServer",
    "Snapshot",
    "Subscription",
    "Trace",
    "ValueView",
    "__version__",
    "connect",
    "policy_names",
]

__version__: Final[str]

MAX_KEY_BYTES: Final[int]
"""The longest key, in bytes."""

@final
class EngineHandle:
    """An engine that was found elsewhere, on its way into a `PegaEngine`."""

@disjoint_base
class PegaEngine:
    """A key-value engine: in memory, or on disk with memory as its cache.

    Keys are 1 to 4096 bytes, `str` standing for its UTF-8. Values are copied when they are put, and carry a checksum
    that every read compares. Every method may be called from any thread, and lets go of the GIL for copies of 32 KiB
    or more and whenever it may wait.
    """

    def __new__(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        memory_bytes: int | None = None,
        disk_bytes: int | None = None,
        policy: str | None = None,
        durability: Literal["batched", "sync", "none"] | None = None,
        compression: Literal["lz4", "zstd"] | None = None,
        on_full: Literal["error", "evict"] | None = None,
        segment_bytes: int | None = None,
        flush_interval_s: float | None = None,
        feed_bytes: int | None = None,
        _handle: EngineHandle | None = None,
    ) -> Self:
        """Open an engine, whose log is in the directory `path` if one is given.

        Args:
            path: The directory of the log, made if it is not there. One engine at a time.
            memory_bytes: The size of the arena, taken and faulted in at once; by default 256 MiB.
            disk_bytes: The most that the log takes; by default 16 GiB.
            policy: What leaves memory first: `lru` by default; `pegaflow replay` compares them.
            durability: When a put is safe: `sync` before it returns, `batched` within `flush_interval_s` (the
                default), `none` when the system gets to it.
            compression: How values are compressed on disk.
            on_full: Whether a full engine refuses (`error`, the default with a path: what was acknowledged stays) or
                gives up the oldest (`evict`, the default without one).
            segment_bytes: The size of a file of the log; by default a share of `disk_bytes`.
            flush_interval_s: The most that a crash may lose under `batched`; by default 0.05.
            feed_bytes: The changes kept for followers of an engine without a path; by default 16 MiB.

        Raises:
            InvalidArgumentError: A setting that no engine can have.
            MemoryFullError: The system does not have the memory.
            LockedError: Another engine has the directory open; the context names its process.
            CorruptError, UnsupportedFormatError, ReadOnlyError, DiskFullError, StorageError: From the directory.
        """

    def put(self, key: Key, value: Value, /, *, ttl_s: float | None = None) -> None:
        """Bind `key` to `value`, for `ttl_s` seconds if given. Readers see the old value or the new one, whole.

        Raises:
            TooLargeError: The value is larger than the arena.
            MemoryFullError: Everything in memory is held by views or leases.
            DiskFullError: The log is full; what is there stays readable, and puts work again when there is space.
        """

    def get(self, key: Key, /) -> bytes | None:
        """Give a copy of the value under `key`, or None.

        Raises:
            CorruptError: The bytes are not what was put.
        """

    def get_into(self, key: Key, buffer: Target, /) -> int:
        """Copy the value under `key` to the start of `buffer` and give its length in bytes.

        Raises:
            KeyError: There is none.
            InvalidArgumentError: The buffer is shorter than the value; it stays untouched.
            CorruptError: The bytes are not what was put: those in the buffer must not be used.
        """

    def get_view(self, key: Key, /) -> memoryview | None:
        """Give the value under `key` where it lies, read-only, or None.

        It stays as it is for as long as the view or anything made of it lives, whatever is put or removed; the room it
        takes cannot be used meanwhile. Its checksum is compared once for as long as it stays in memory.
        """

    def remove(self, key: Key, /) -> bool:
        """Remove `key`; False if it was not there."""

    def put_many(self, items: Items, /, *, ttl_s: float | None = None) -> None:
        """Put each item by itself, in order. After an error those before it are stored; see `transaction`."""

    def get_many(self, keys: Iterable[Key], /) -> list[bytes | None]:
        """Give a copy of each value, or None in its place."""

    def remove_many(self, keys: Iterable[Key], /) -> int:
        """Remove each key; give how many were there."""

    def scan(self, prefix: Key | None = None, /) -> list[bytes]:
        """Give the keys that start with `prefix`, in order. Looks at every key."""

    def stats(self) -> dict[str, int]:
        """Give the state of the engine: sizes in bytes, and counts since it was opened."""

    def flush(self) -> None:
        """Wait until everything that was written is synced."""

    def close(self) -> None:
        """Write and sync what is left, and refuse every later operation. Views stay valid. Again: does nothing."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""

    @property
    def last_seq(self) -> int:
        """The number of the newest change."""

    @property
    def applied_seq(self) -> int:
        """The newest change of another engine that was applied here; 0 if none was."""

    def subscribe(self, from_seq: int | None = None) -> Subscription:
        """Follow the puts and removes from `from_seq` on; without it, those yet to come.

        Raises:
            SnapshotNeeded: They are not all there any more.
        """

    def snapshot(self) -> Snapshot:
        """Give everything there is, while writes go on; follow from `seq + 1` afterwards."""

    def apply(self, changes: Sequence[Change]) -> None:
        """Apply changes of another engine, all or none; those applied before are passed over.

        Give the changes of one transaction, which have `more` set but for the last, in one call.
        """

    def restore(self, changes: Iterable[Change], seq: int) -> None:
        """Put a snapshot of another engine in the place of what is here. After an error it must be done again."""

    @property
    def _waits(self) -> bool: ...
    def _commit(self, writes: Sequence[tuple[Key, Value | None, float | None]]) -> list[bool]: ...
    def _get_now(self, key: Key) -> tuple[bool, bytes | None]: ...
    def __contains__(self, key: Key, /) -> bool: ...
    def __len__(self) -> int: ...

@final
class Change:
    """A put or remove of an engine, as its followers see it. Can be pickled."""

    def __new__(
        cls, seq: int, key: bytes, value: bytes | None = None, expires_at_ms: int = 0, more: bool = False
    ) -> Self: ...
    @property
    def seq(self) -> int:
        """Its number, larger than that of every change before it."""

    @property
    def key(self) -> bytes:
        """The key."""

    @property
    def value(self) -> bytes | None:
        """The value; None for a remove."""

    @property
    def expires_at_ms(self) -> int:
        """When the value is over, in milliseconds of unix time; 0 for never."""

    @property
    def more(self) -> bool:
        """Whether the next change belongs to the same transaction."""

    def __getnewargs__(self) -> tuple[int, bytes, bytes | None, int, bool]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __lt__(self, other: Any, /) -> bool: ...
    def __le__(self, other: Any, /) -> bool: ...
    def __gt__(self, other: Any, /) -> bool: ...
    def __ge__(self, other: Any, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Subscription:
    """The changes of an engine in their order. Iterating waits for the next one, and raises when the engine closes."""

    def poll(self, timeout_s: float | None = None) -> Change | None:
        """Give the next change, or None if there was none in time."""

    def __iter__(self) -> Iterator[Change]: ...
    def __next__(self) -> Change: ...

@final
class Snapshot:
    """Everything in an engine, as puts numbered `seq`."""

    @property
    def seq(self) -> int:
        """The change up to which the snapshot is complete."""

    def __iter__(self) -> Iterator[Change]: ...
    def __next__(self) -> Change: ...

@disjoint_base
class BlockCache:
    """The blocks of one namespace of an engine: of one size, named by hashes that the caller has chained.

    A block that is wrong in any way is a miss: counted, and never served.
    """

    def __new__(
        cls,
        engine: PegaEngine,
        namespace: str,
        *,
        block_bytes: int | None = None,
        quota_bytes: int | None = None,
        hash_bytes: int = 32,
    ) -> Self:
        """Open a namespace, made if there is none.

        Args:
            engine: Where the blocks are; here or in a sidecar.
            namespace: One tenant's or model's name. Namespaces do not see each other's blocks.
            block_bytes: The size of every block; by default that of the first one stored.
            quota_bytes: The most that the namespace's blocks take, in memory and on disk together.
            hash_bytes: The size of the hashes in a packed buffer.
        """

    @property
    def namespace(self) -> str:
        """The name of the namespace."""

    @property
    def block_bytes(self) -> int | None:
        """The size of every block, once it is known."""

    def set_quota_bytes(self, quota_bytes: int | None) -> None:
        """Bound the bytes of blocks, or lift the bound. Blocks beyond it go when the next one is stored."""

    def match_prefix(self, hashes: Hashes) -> int:
        """Give how many of the first blocks are there, before the first that is not. Changes and counts nothing."""

    def lease(self, hashes: Hashes, *, max_age_s: float | None = None) -> Lease:
        """Keep the blocks that are there, wherever they are, until the lease ends: after 300 s if nobody ends it."""

    def attach(self, token: int) -> Lease:
        """Give the lease that another client of the same engine has taken. Dropping it leaves the owner's alone.

        Raises:
            LeaseLostError: There is no such lease in this namespace.
        """

    def load_into(self, lease: Lease, buffers: Sequence[BlockTarget] | PageList) -> list[int]:
        """Copy leased blocks out, one for each hash of the lease; give the positions that failed.

        What is in the buffers of those must not be used. None stands for a block that is not wanted.

        Raises:
            LeaseLostError: The lease was released, or is too old.
        """

    def start_load(self, lease: Lease, buffers: Sequence[BlockTarget] | PageList) -> Job:
        """Load in the background. The job keeps the blocks and the buffers until it is done."""

    def store(self, hashes: Hashes, buffers: Sequence[BlockSource] | PageList) -> list[int]:
        """Store the blocks that are not there yet; give the positions for which there was no room.

        Those that are there count as used: pass the whole chain, from its start.
        """

    def start_store(self, hashes: Hashes, buffers: Sequence[BlockSource] | PageList) -> Job:
        """Store in the background. The job keeps the buffers until it is done; do not change them before."""

    def hint(
        self,
        hashes: Hashes,
        action: Literal["pin", "prefetch", "demote", "release", "next_use"],
        *,
        for_s: float | None = None,
        next_use_s: float | None = None,
    ) -> None:
        """Tell what is known about blocks.

        `pin` keeps them for `for_s` seconds; `prefetch` brings them from disk to memory in the background; `demote`
        lets them leave memory now, or first if they are nowhere else; `release` ends pins and lets them go first;
        `next_use` says in how many seconds they are needed, for a policy that looks ahead.
        """

    def stats(self) -> dict[str, int | float | None]:
        """Give the state of the namespace: sizes in bytes, times in seconds, rates from 0 to 1."""

@final
class BlockPages:
    """Memory that is cut into pages, like the KV cache of a model server: a block is one page of each layer."""

    def __new__(cls, layers: Sequence[Target], pages: int) -> Self:
        """Take layers of so many pages each: contiguous, writable, and lent for as long as this or a job lives.

        Raises:
            InvalidArgumentError: A layer is not a multiple of that many bytes.
        """

    @property
    def block_bytes(self) -> int:
        """The size of a block."""

    def at(self, pages: Sequence[int | None]) -> PageList:
        """Give what stands for the buffers of as many blocks; None for a block that is not wanted.

        Raises:
            InvalidArgumentError: There is no such page.
        """

    def __len__(self) -> int: ...

@final
class PageList:
    """Pages in place of a sequence of buffers, of which nothing is made for each block."""

    def __len__(self) -> int: ...

@final
class Lease:
    """Blocks that stay until they were loaded: until `release`, the end of a `with` block, or their maximum age."""

    @property
    def token(self) -> int:
        """What another client of the same engine needs to attach the lease."""

    @property
    def present(self) -> list[bool]:
        """For each hash, whether its block was there and is kept."""

    @property
    def on_disk(self) -> list[bool]:
        """For each hash, whether its block was on disk only when the lease was taken."""

    @property
    def held(self) -> bool:
        """Whether blocks can still be loaded by the lease."""

    def release(self) -> None:
        """Let the blocks go. Loads under way finish. Again: does nothing."""

    def __len__(self) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

@final
class Job:
    """A transfer of blocks in the background. Dropping it waits for its end, since it uses memory that was lent."""

    def done(self) -> bool:
        """Say whether it is done."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is done; False if it was not in time."""

    def result(self, timeout_s: float | None = None) -> list[int]:
        """Wait, and give the positions that failed.

        Raises:
            TimedOutError: It was not done in time.
        """

    def add_done_callback(self, tell: Callable[[], object]) -> None:
        """Have `tell()` called when it is done: from another thread, or here if it is done already."""

@final
class ValueView:
    """What a `memoryview` of `get_view` keeps alive."""

@final
class Trace:
    """The requests of a recorded trace, in order of time."""

    def __new__(cls) -> Self: ...
    def push(self, timestamp_ms: int, block_ids: Sequence[int]) -> None: ...
    @property
    def unique_blocks(self) -> int: ...
    @property
    def references(self) -> int: ...
    def __len__(self) -> int: ...

@final
class Replay:
    """A replay of a trace by one policy, some requests at a time."""

    def __new__(
        cls,
        trace: Trace,
        policy: str,
        capacity_blocks: int,
        *,
        released_after_ms: int | None = None,
        exact: bool = False,
    ) -> Self: ...
    def advance(self, requests: int) -> int: ...
    def score(self) -> tuple[int, int, int]: ...

@final
class SidecarServer:
    """An engine that the processes of this user share over a Unix socket. Only on Linux."""

    def __new__(
        cls,
        socket: str | os.PathLike[str],
        engine: Mapping[str, object],
        settings: Mapping[str, str],
        *,
        idle_exit_s: float | None = None,
        drain_s: float = 10.0,
    ) -> Self: ...
    def waker(self) -> int: ...
    def stop(self) -> None: ...
    def wait(self) -> None: ...
    def prometheus(self) -> str: ...

def connect(
    socket: str | os.PathLike[str], settings: Mapping[str, str], *, reply_timeout_s: float | None = None
) -> EngineHandle:
    """Connect to a sidecar, which must have these settings."""

def policy_names() -> list[str]:
    """Give the names of the eviction policies."""
