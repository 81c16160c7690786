"""Who holds a lease: a name that tells others on the same machine whether its process still lives."""

from __future__ import annotations

import os
import platform
import secrets
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Owner", "is_dead"]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""


def _host() -> str:
    """Name the place in which a process id means one process: the machine since it was started, and its namespace."""
    boot_id = _read("/proc/sys/kernel/random/boot_id").strip()
    try:
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        namespace = ""
    return "-".join(filter(None, (platform.node() or "host", boot_id[:13], namespace))).replace("/", "_")


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; empty where there is no such process, or no /proc."""
    status = _read(f"/proc/{pid}/stat")
    # The name of the program, in brackets, may hold spaces; start time is the 22nd field of proc(5).
    fields = status.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in ("Z", "X") else ""


@dataclass(frozen=True, slots=True)
class Owner:
    """One running flow, as it appears in leases: `<host>/<process>/<random>`."""

    host: str = field(default_factory=_host)
    process: str = field(default_factory=lambda: f"{os.getpid()}.{_started(os.getpid())}")
    token: str = field(default_factory=lambda: secrets.token_hex(6))

    @property
    def name(self) -> str:
        """The whole name."""
        return f"{self.host}/{self.process}/{self.token}"


def is_dead(owner: str, here: Owner) -> bool:
    """Say whether the process of an owner has surely ended; false where that cannot be told from here."""
    host, _, rest = owner.partition("/")
    pid, _, started = rest.partition("/")[0].partition(".")
    if host != here.host or not pid.isdecimal() or not started:
        return False
    return _started(int(pid)) != started
