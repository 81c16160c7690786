"""What `kv_connector_extra_config` may say."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pegaflow_vllm._errors import SettingsError

_UNITS = {"": 1, "B": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{prefix}i": 2 ** (10 * power) for power, prefix in enumerate("KMGT", start=1)}

_TOO_MANY_BYTES = 1 << 63
"""No file and no memory is so large."""


def _size(value: object) -> int:
    """Read a number of bytes, or text like 8GiB."""
    size: float = 0
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (found := re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]i?|)B?", value)):
        size = float(found[1]) * _UNITS[found[2]]
    if not 1 <= size < _TOO_MANY_BYTES:
        raise ValueError("is a number of bytes or text like '8GiB'")
    return int(size)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError("is a number of seconds above 0")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("is a text that is not empty")
    return value


def _path(value: object) -> Path:
    try:
        return Path(_text(value)).expanduser().absolute()
    except RuntimeError:
        raise ValueError("is a path whose ~ stands for a directory here") from None


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is true or false")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise ValueError("is a whole number from 0 on")
    return value


def _factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise ValueError("is a number from 0 on")
    return float(value)


def _one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(f"is one of {', '.join(map(repr, choices))}")
        return str(value)

    return read


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a connector behaves. Each field is a key of `kv_connector_extra_config`."""

    socket: Path | None = field(default=None, metadata={"read": _path})
    """The sidecar; without it, the one of this user, which is started if none runs."""

    memory: int | None = field(default=None, metadata={"read": _size})
    """The arena of a sidecar that is started, in bytes or like "8GiB"; by default a quarter of the memory of the
    machine, and at most 16 GiB."""

    disk: Path | None = field(default=None, metadata={"read": _path})
    """The directory in which a sidecar that is started keeps blocks; by default they live in memory only."""

    disk_size: int | None = field(default=None, metadata={"read": _size})
    """The most that the directory takes."""

    policy: str | None = field(default=None, metadata={"read": _text})
    """What leaves the memory of a sidecar that is started first."""

    tenant: str = field(default="", metadata={"read": _text})
    """Engines with different tenants never see each other's blocks."""

    model_identity: str | None = field(default=None, metadata={"read": _text})
    """Stands for the weights, instead of a hash over their files."""

    load_failure: str = field(default="recompute", metadata={"read": _one_of("recompute", "fail")})
    """What becomes of a request whose blocks could not be loaded: computed again, or what vLLM's
    `kv_load_failure_policy` says."""

    break_even: float = field(default=1.0, metadata={"read": _factor})
    """A hit is loaded if that takes at most this many times as long as computing it; 0 loads every hit."""

    min_hit_tokens: int = field(default=0, metadata={"read": _count})
    """Shorter hits are computed."""

    lookup_timeout_s: float = field(default=1.0, metadata={"read": _seconds})
    """How long the scheduler waits for the sidecar before it goes on without it."""

    transfer_timeout_s: float = field(default=10.0, metadata={"read": _seconds})
    """How long a transfer waits for the sidecar before it counts as failed."""

    reconnect_s: float = field(default=1.0, metadata={"read": _seconds})
    """The time between two attempts to find the sidecar again."""

    lease_s: float = field(default=60.0, metadata={"read": _seconds})
    """How long blocks are kept for a load."""

    handoff_timeout_s: float = field(default=5.0, metadata={"read": _seconds})
    """How long a request waits for blocks that another engine has announced."""

    max_pin_s: float = field(default=3600.0, metadata={"read": _seconds})
    """The longest that a request may have its blocks pinned or announced."""

    max_pinned: int = field(default=4096, metadata={"read": _count})
    """The most blocks that requests of this engine may have pinned at once."""

    load_threads: int = field(default=2, metadata={"read": _count})
    """How many threads copy the blocks of a request in."""

    allow_untested_vllm: bool = field(default=False, metadata={"read": _flag})
    """Start with a version of vLLM that this release does not know."""

    @classmethod
    def read(cls, extra_config: Mapping[str, Any]) -> "Settings":
        """Check and take the settings.

        Raises:
            SettingsError: A key that is not known, naming the nearest that is, or a value that cannot be meant.
        """
        known = {setting.name: setting for setting in fields(cls)}
        values = {}
        for name, value in extra_config.items():
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
                raise SettingsError(name, f"is not known; did you mean {near!r}?")
            try:
                values[name] = known[name].metadata["read"](value)
            except ValueError as error:
                raise SettingsError(name, f"{error}, not {value!r}") from None
        if "socket" in values and (mistaken := values.keys() & {"memory", "disk", "disk_size", "policy"}):
            problem = "is for a sidecar that is started here; leave out 'socket', or set it where that one is started"
            raise SettingsError(min(mistaken), problem)
        if "disk_size" in values and "disk" not in values:
            raise SettingsError("disk_size", "needs 'disk', the directory")
        return cls(**values)
