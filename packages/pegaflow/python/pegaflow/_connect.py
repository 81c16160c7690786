"""`pegaflow.connect`: an engine that several processes share."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

from pegaflow import _native
from pegaflow._engine import PegaEngine
from pegaflow._errors import DisconnectedError, PegaError
from pegaflow._location import default_socket
from pegaflow._settings import EngineSettings

_IDLE_EXIT_S = 600


class SidecarStartError(PegaError):
    """A sidecar was started and did not come up; the message is what it said."""

    __module__ = "pegaflow"
    code = "SIDECAR_START"


def connect(
    path: str | os.PathLike[str] | None = None,
    *,
    memory_bytes: int | None = None,
    disk_path: str | os.PathLike[str] | None = None,
    disk_bytes: int | None = None,
    policy: str | None = None,
    durability: str | None = None,
    compression: str | None = None,
    on_full: str | None = None,
    reply_timeout_s: float | None = None,
) -> PegaEngine:
    """Connect to the sidecar at `path`; without one, to the sidecar of this user, which is started if need be.

    What comes back has the operations of a `PegaEngine`; closing it closes the connection, and the sidecar goes on.
    One that was started here outlives this process and ends after ten minutes without a client. Settings that are
    given must be those of the running sidecar, or are those of the one that is started. Blocks while a sidecar
    starts. In a child that was forked from this process, connect again.

    With `reply_timeout_s` an operation that waits longer for the sidecar raises `TimedOutError`, so that one that is
    stopped or hangs stops nobody else; following changes needs more than half a second.

    Raises:
        DisconnectedError: No sidecar answers at `path`.
        SettingsDifferError: A running sidecar has other settings than those given.
        SidecarStartError: The sidecar that was started did not come up.
        NotImplementedError: This system is not Linux.
    """
    if sys.platform != "linux":
        raise NotImplementedError("a sidecar needs the sealed memory files of Linux; open a PegaEngine here instead")
    settings = EngineSettings(
        memory_bytes=memory_bytes,
        path=None if disk_path is None else Path(disk_path).absolute(),
        disk_bytes=disk_bytes,
        policy=policy,
        durability=durability,
        compression=compression,
        on_full=on_full,
    )
    if path is not None:
        return _engine_at(Path(path), settings, reply_timeout_s)
    socket = default_socket()
    try:
        return _engine_at(socket, settings, reply_timeout_s)
    except DisconnectedError:
        pass
    with _starting(socket):
        try:
            # Another process may have started one while this one waited for the lock.
            return _engine_at(socket, settings, reply_timeout_s)
        except DisconnectedError:
            _start(socket, settings)
            return _engine_at(socket, settings, reply_timeout_s)


def _engine_at(socket: Path, settings: EngineSettings, reply_timeout_s: float | None) -> PegaEngine:
    return PegaEngine(_handle=_native.connect(socket, settings.as_text(), reply_timeout_s=reply_timeout_s))


@contextmanager
def _starting(socket: Path) -> Iterator[None]:
    """Let one process at a time start a sidecar."""
    with socket.with_name(socket.name + ".starting").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def _start(socket: Path, settings: EngineSettings) -> None:
    command = [sys.executable, "-m", "pegaflow", "serve", "--detach", "--socket", str(socket)]
    command += ["--idle-exit-s", str(_IDLE_EXIT_S), *settings.as_command_line()]
    started = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if started.returncode != 0:
        raise SidecarStartError(f"the sidecar did not start: {started.stderr.strip()}", {"path": str(socket)})
