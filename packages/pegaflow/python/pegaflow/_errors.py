"""The exceptions of pegaflow, one class for each kind of error of the engine.

PegaError
├── InvalidArgumentError   (ValueError)   an option, size or name that no engine could accept
├── InvalidKeyError        (ValueError)   a key that is empty or too long
├── TooLargeError          (ValueError)   a value, batch or transaction larger than the arena
├── MemoryFullError                       memory is full and nothing in it may be evicted
├── DiskFullError          (OSError)      the disk tier, or the disk itself, has no room
├── ReadOnlyError          (OSError)      the directory cannot be written to
├── StorageError           (OSError)      the operating system refused an operation
├── CorruptError                          bytes that do not match their checksum
├── LockedError                           another engine holds the directory or socket
├── UnsupportedFormatError                a file or peer of a version that this build does not know
├── ClosedError                           the engine, cache or connection is closed
├── SnapshotNeeded                        the change feed no longer holds what was asked for
├── LeaseLostError                        a lease that was released, expired or never existed
├── QuotaExceededError                    a namespace is at its quota
├── ProtocolError                         a frame that breaks the sidecar's protocol
├── DisconnectedError      (ConnectionError)  the other end of a connection went away
├── SettingsDifferError                   a running sidecar has other settings
└── TimedOutError          (TimeoutError) a wait that ended before what was waited for
"""

from collections.abc import Mapping
from typing import ClassVar


class PegaError(Exception):
    """Whatever goes wrong in pegaflow."""

    code: ClassVar[str] = "PEGA"
    """The stable name of the kind of error."""

    context: Mapping[str, int | str]
    """What the error was about, by name: sizes in bytes, paths, the holder of a lock."""

    def __init__(self, message: str, context: Mapping[str, int | str] | None = None) -> None:
        super().__init__(message)
        self.context = dict(context or {})

    def __reduce__(self) -> tuple[type["PegaError"], tuple[str, dict[str, int | str]]]:
        return type(self), (str(self), dict(self.context))


class InvalidArgumentError(PegaError, ValueError):
    """An option, size or name that no engine could accept."""

    code = "INVALID_ARGUMENT"


class InvalidKeyError(PegaError, ValueError):
    """A key that is empty or longer than `MAX_KEY_BYTES`."""

    code = "INVALID_KEY"


class TooLargeError(PegaError, ValueError):
    """A value, batch or transaction larger than the arena."""

    code = "TOO_LARGE"


class MemoryFullError(PegaError):
    """Memory is full, and what is in it is held or may not be evicted."""

    code = "MEMORY_FULL"


class DiskFullError(PegaError, OSError):
    """The disk tier reached its size, or the file system has no space left."""

    code = "DISK_FULL"


class ReadOnlyError(PegaError, OSError):
    """The directory cannot be written to."""

    code = "READ_ONLY"


class StorageError(PegaError, OSError):
    """The operating system refused an operation."""

    code = "IO"


class CorruptError(PegaError):
    """Bytes in memory or on disk do not match their checksum."""

    code = "CORRUPT"


class LockedError(PegaError):
    """Another engine holds the directory or the socket."""

    code = "LOCKED"


class UnsupportedFormatError(PegaError):
    """A file or a peer has a version that this build does not know."""

    code = "UNSUPPORTED_FORMAT"


class ClosedError(PegaError):
    """The engine, cache or connection is closed."""

    code = "CLOSED"


class SnapshotNeeded(PegaError):
    """The change feed no longer holds what was asked for: take a snapshot and follow from its seq."""

    code = "SNAPSHOT_NEEDED"


class LeaseLostError(PegaError):
    """A lease that was released, is too old, or never existed."""

    code = "LEASE_LOST"


class QuotaExceededError(PegaError):
    """A namespace is at its quota, and nothing in it may be evicted."""

    code = "QUOTA_EXCEEDED"


class ProtocolError(PegaError):
    """A frame that is malformed, oversized or out of order."""

    code = "PROTOCOL"


class DisconnectedError(PegaError, ConnectionError):
    """The other end of a connection went away."""

    code = "DISCONNECTED"


class SettingsDifferError(PegaError):
    """A running sidecar has other settings than those asked for."""

    code = "SETTINGS_DIFFER"


class TimedOutError(PegaError, TimeoutError):
    """A wait ended before what was waited for happened."""

    code = "TIMED_OUT"


_BY_CODE: dict[str, type[PegaError]] = {kind.code: kind for kind in PegaError.__subclasses__()}


def _from_native(code: str, message: str, context: dict[str, int | str]) -> PegaError:
    """Give the exception for an error of the engine."""
    return _BY_CODE[code](message, context)
