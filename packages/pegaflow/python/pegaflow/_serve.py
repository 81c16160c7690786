"""`python -m pegaflow serve`: one engine for the processes of this user."""

import argparse
import os
import signal
import sys
from pathlib import Path

from pegaflow._detach import Detachment
from pegaflow._errors import PegaError
from pegaflow._location import default_socket
from pegaflow._metrics import serve_metrics
from pegaflow._native import SidecarServer
from pegaflow._settings import EngineSettings
from pegaflow._sizes import format_size, parse_size

_DEFAULT_MEMORY = "1GiB"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `serve` takes."""
    parser.add_argument("--socket", type=Path, help="where clients connect; by default a place of this user's")
    parser.add_argument("--memory", type=_size, default=_DEFAULT_MEMORY, help="the shared arena, like 4GiB")
    parser.add_argument("--disk", type=_disk, metavar="DIR[:SIZE]", help="persist in DIR, at most SIZE, like kv:20GiB")
    parser.add_argument("--policy", default="lru", help="what leaves memory first (default: lru)")
    parser.add_argument("--durability", choices=["batched", "sync", "none"], default="batched")
    parser.add_argument("--compression", choices=["lz4", "zstd"], help="compress what goes to disk")
    parser.add_argument("--on-full", choices=["error", "evict"], help="what a full disk does (default: error)")
    parser.add_argument("--idle-exit-s", type=float, help="end after this long without a client (default: never)")
    parser.add_argument("--drain-s", type=float, default=10.0, help="how long requests may take when ending")
    parser.add_argument("--metrics-port", type=_port, help="serve Prometheus text on this loopback port; 0 picks one")
    parser.add_argument("--detach", action="store_true", help="return once it serves, and leave it running")


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: give 0 to 65535")
    return port


def _disk(text: str) -> tuple[Path, int | None]:
    directory, colon, size = text.rpartition(":")
    path, size_bytes = (directory, _size(size) if size else None) if colon else (text, None)
    return Path(path).absolute(), size_bytes


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT, or idle for too long; then drain, persist and give 0."""
    try:
        socket = (arguments.socket or default_socket()).absolute()
        if not arguments.detach:
            return _serve(arguments, socket)
        is_child, detachment = Detachment.begin(log=socket.with_name(socket.name + ".log"))
        if is_child:
            return _serve(arguments, socket, detachment)
        return 0 if detachment.wait() else 1
    except (PegaError, OSError) as error:
        print(f"pegaflow serve: {error}", file=sys.stderr)
        return 1


def _settings(arguments: argparse.Namespace) -> EngineSettings:
    path, disk_bytes = arguments.disk or (None, None)
    return EngineSettings(
        memory_bytes=arguments.memory,
        path=path,
        disk_bytes=disk_bytes,
        policy=arguments.policy,
        durability=arguments.durability,
        compression=arguments.compression,
        on_full=arguments.on_full,
    )


def _serve(arguments: argparse.Namespace, socket: Path, detachment: Detachment | None = None) -> int:
    settings = _settings(arguments)
    server = SidecarServer(
        socket,
        settings.as_arguments(),
        settings.as_text(),
        idle_exit_s=arguments.idle_exit_s,
        drain_s=arguments.drain_s,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    # The server ends when the number of a signal arrives here, also while this thread waits in native code.
    signal.set_wakeup_fd(server.waker(), warn_on_full_buffer=False)
    with serve_metrics(arguments.metrics_port, server) as port:
        metrics = "" if port is None else f", metrics on http://127.0.0.1:{port}/metrics"
        print(f"serving {format_size(arguments.memory)} on {socket} (pid {os.getpid()}){metrics}", flush=True)
        if detachment is not None:
            detachment.succeed()
        server.wait()
    signal.set_wakeup_fd(-1)
    return 0
