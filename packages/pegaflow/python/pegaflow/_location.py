"""Where the sidecar of this user listens when nobody says otherwise."""

import os
import stat
import tempfile
from pathlib import Path

_NAME = "sidecar.sock"


def default_socket() -> Path:
    """Give the path, in a directory that only this user can enter, which is made if need be.

    The directory is `$XDG_RUNTIME_DIR/pegaflow`, or `pegaflow-UID` in the directory for temporary files.

    Raises:
        PermissionError: Someone else made the directory, or lets others into it.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    user = os.getuid()
    directory = Path(runtime, "pegaflow") if runtime else Path(tempfile.gettempdir(), f"pegaflow-{user}")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o077:
        raise PermissionError(
            f"{directory} must be a directory of yours with mode 0700; remove it, or pass the path of a socket"
        )
    return directory / _NAME
