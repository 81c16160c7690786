"""A key-value storage engine at memory speed, and the block cache of an LLM server."""

from pegaflow import _errors
from pegaflow._connect import SidecarStartError, connect
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
from pegaflow._native import MAX_KEY_BYTES, PegaEngine, __version__

__all__ = [
    "MAX_KEY_BYTES",
    "ClosedError",
    "CorruptError",
    "DisconnectedError",
    "DiskFullError",
    "InvalidArgumentError",
    "InvalidKeyError",
    "LeaseLostError",
    "LockedError",
    "MemoryFullError",
    "PegaEngine",
    "PegaError",
    "ProtocolError",
    "QuotaExceededError",
    "ReadOnlyError",
    "SettingsDifferError",
    "SidecarStartError",
    "SnapshotNeeded",
    "StorageError",
    "TimedOutError",
    "TooLargeError",
    "UnsupportedFormatError",
    "__version__",
    "connect",
]

for _name in __all__:
    if hasattr(_errors, _name):
        getattr(_errors, _name).__module__ = __name__
