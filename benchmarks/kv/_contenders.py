"""What is compared: each keeps values of one size under numbered keys, and copies them in and out."""

from __future__ import annotations

import ctypes
import importlib
import mmap
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pegaflow import PegaEngine

_LIBC = ctypes.CDLL(None)
_LIBC.memcpy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_LIBC.memcpy.restype = None
_MADV_HUGEPAGE = 14


class Contender(ABC):
    """A place for values."""

    name: str
    get: Callable[[int], object] | None = None
    """Give a value as bytes of the caller's own; None where there is no such operation."""
    get_view: Callable[[int], object] | None = None
    """Give access to a value where it lies; None where there is no such operation."""

    @abstractmethod
    def put(self, number: int, value: bytearray) -> None:
        """Keep a copy of `value`."""

    @abstractmethod
    def get_into(self, number: int, buffer: bytearray) -> None:
        """Copy a value into `buffer`."""


class Floor(Contender):
    """`memcpy` between a buffer and prefaulted memory as large as all values together; no keys, no checksums."""

    name = "memcpy"

    def __init__(self, count: int, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._memory = mmap.mmap(-1, count * size_bytes)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._memory.madvise(mmap.MADV_HUGEPAGE)
        self._memory.write(b"\1" * (count * size_bytes))
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._addresses: dict[int, int] = {}

    def put(self, number: int, value: bytearray) -> None:
        _LIBC.memcpy(self._start + number * self._size_bytes, self._address(value), self._size_bytes)

    def get_into(self, number: int, buffer: bytearray) -> None:
        _LIBC.memcpy(self._address(buffer), self._start + number * self._size_bytes, self._size_bytes)

    def _address(self, buffer: bytearray) -> int:
        known = self._addresses.get(id(buffer))
        if known is None:
            known = self._addresses[id(buffer)] = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        return known


class Pega(Contender):
    """An engine, embedded or behind a sidecar."""

    def __init__(self, name: str, engine: PegaEngine, keys: list[bytes]) -> None:
        self.name = name
        self._keys = keys
        self._put = engine.put
        self._get_into = engine.get_into
        self.get = lambda number: engine.get(keys[number])
        self.get_view = lambda number: engine.get_view(keys[number])

    def put(self, number: int, value: bytearray) -> None:
        self._put(self._keys[number], value)

    def get_into(self, number: int, buffer: bytearray) -> None:
        self._get_into(self._keys[number], buffer)


class Dict(Contender):
    """A dict of bytes. It has no get of its own: it would hand out the same object again."""

    name = "dict"

    def __init__(self) -> None:
        self._values: dict[int, bytes] = {}

    def put(self, number: int, value: bytearray) -> None:
        self._values[number] = bytes(value)

    def get_into(self, number: int, buffer: bytearray) -> None:
        memoryview(buffer)[:] = self._values[number]


class Moka(Contender):
    """moka-py, a concurrent cache in Rust that holds Python objects."""

    name = "moka-py"

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def put(self, number: int, value: bytearray) -> None:
        self._cache.set(number, bytes(value))

    def get_into(self, number: int, buffer: bytearray) -> None:
        memoryview(buffer)[:] = self._cache.get(number)


class Lmdb(Contender):
    """LMDB without syncing, on the file system of the temporary directory; a transaction per operation."""

    name = "lmdb"

    def __init__(self, environment: Any, keys: list[bytes]) -> None:
        self._environment = environment
        self._keys = keys
        self.get = self._get
        self.get_view = self._get_view

    def put(self, number: int, value: bytearray) -> None:
        with self._environment.begin(write=True) as transaction:
            transaction.put(self._keys[number], value)

    def get_into(self, number: int, buffer: bytearray) -> None:
        with self._environment.begin(buffers=True) as transaction:
            memoryview(buffer)[:] = transaction.get(self._keys[number])

    def _get(self, number: int) -> object:
        with self._environment.begin() as transaction:
            return transaction.get(self._keys[number])

    def _get_view(self, number: int) -> object:
        with self._environment.begin(buffers=True) as transaction:
            return transaction.get(self._keys[number])


class Redis(Contender):
    """Redis on a Unix socket, without persistence."""

    name = "redis"

    def __init__(self, client: Any, keys: list[bytes]) -> None:
        self._client = client
        self._keys = keys
        self.get = lambda number: client.get(keys[number])

    def put(self, number: int, value: bytearray) -> None:
        self._client.set(self._keys[number], memoryview(value))

    def get_into(self, number: int, buffer: bytearray) -> None:
        memoryview(buffer)[:] = self._client.get(self._keys[number])


class Files(Contender):
    """A file per value in the temporary directory, in the page cache."""

    name = "files"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.get = lambda number: (directory / str(number)).read_bytes()

    def put(self, number: int, value: bytearray) -> None:
        with (self._directory / str(number)).open("wb", buffering=0) as file:
            file.write(value)

    def get_into(self, number: int, buffer: bytearray) -> None:
        with (self._directory / str(number)).open("rb", buffering=0) as file:
            file.readinto(buffer)


@contextmanager
def peers(count: int, size_bytes: int) -> Iterator[tuple[list[Contender], dict[str, str]]]:
    """Give the peers that are here, and why each of the others is not."""
    keys = [f"value-{number}".encode() for number in range(count)]
    total_bytes = count * size_bytes
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kv-peers-")))
        (scratch / "files").mkdir()
        found: list[Contender] = [Dict(), Files(scratch / "files")]
        starts: dict[str, Callable[[], Contender]] = {
            "moka-py": lambda: _moka(count),
            "lmdb": lambda: _lmdb(stack, scratch / "lmdb", total_bytes, keys),
            "redis": lambda: _redis(stack, scratch, keys),
        }
        for name, start in starts.items():
            try:
                found.append(start())
            except (ImportError, FileNotFoundError) as error:
                missing[name] = str(error)
        yield found, missing


def _moka(count: int) -> Contender:
    moka_py: Any = importlib.import_module("moka_py")
    return Moka(moka_py.Moka(count * 2))


def _lmdb(stack: ExitStack, path: Path, total_bytes: int, keys: list[bytes]) -> Contender:
    lmdb: Any = importlib.import_module("lmdb")
    # Room for every page twice: a write copies the pages it changes before the old ones are free.
    environment = lmdb.open(str(path), map_size=total_bytes * 4 + (64 << 20), sync=False, max_readers=8)
    stack.callback(environment.close)
    return Lmdb(environment, keys)


def _redis(stack: ExitStack, scratch: Path, keys: list[bytes]) -> Contender:
    redis: Any = importlib.import_module("redis")
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("redis-server is not on PATH")
    socket = scratch / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--dir", str(scratch)]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    stack.callback(server.wait, 10)
    stack.callback(server.terminate)
    client = redis.Redis(unix_socket_path=str(socket))
    stack.callback(client.close)
    until(lambda: socket.exists() and client.ping())
    return Redis(client, keys)


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {timeout_s:g} s")
        time.sleep(0.01)
