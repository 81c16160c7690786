"""A key-value storage engine at memory speed, and the block cache of an LLM server."""

from typing import TYPE_CHECKING

from pegaflow import _errors
from pegaflow._cache import BlockCache
from pegaflow._connect import SidecarStartError, connect
from pegaflow._engine import PegaEngine
from pegaflow._errors import (
    ClosedError,
    CorruptError,
    DisconnectedError,
    DiskFullError,
    InvalidArgumentError,
    InvalidKeyError,
    LeaseLostError,
    LockedError,
    MemoryFullError,
    PegaError,
    ProtocolError,
    QuotaExceededError,
    ReadOnlyError,
    SettingsDifferError,
    SnapshotNeeded,
    StorageError,
    TimedOutError,
    TooLargeError,
    UnsupportedFormatError,
)
from pegaflow._native import (
    MAX_KEY_BYTES,
    BlockPages,
    Change,
    Job,
    Lease,
    PageList,
    Snapshot,
    Subscription,
    __version__,
)
from pegaflow._transaction import Transaction

__all__ = [
    "MAX_KEY_BYTES",
    "BlockCache",
    "BlockPages",
    "Change",
    "ClosedError",
    "CorruptError",
    "DisconnectedError",
    "DiskFullError",
    "InvalidArgumentError",
    "InvalidKeyError",
    "Job",
    "Lease",
    "LeaseLostError",
    "LockedError",
    "MemoryFullError",
    "PageList",
    "PegaEngine",
    "PegaError",
    "ProtocolError",
    "QuotaExceededError",
    "ReadOnlyError",
    "SettingsDifferError",
    "SidecarStartError",
    "Snapshot",
    "SnapshotNeeded",
    "StorageError",
    "Subscription",
    "TimedOutError",
    "TooLargeError",
    "Transaction",
    "UnsupportedFormatError",
    "__version__",
    "connect",
]

for _name in __all__:
    if hasattr(_errors, _name) or _name in {"BlockCache", "PegaEngine", "Transaction"}:
        globals()[_name].__module__ = __name__

if TYPE_CHECKING:
    PegaKVConnector: type
    """Connects vLLM to pegaflow; another distribution provides it."""
else:

    def __getattr__(name: str) -> object:
        """Give `PegaKVConnector`."""
        if name != "PegaKVConnector":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pegaflow._plugins import load_connector

        return load_connector()
