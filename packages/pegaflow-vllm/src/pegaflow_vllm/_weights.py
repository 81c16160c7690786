"""Hashes over files of weights, remembered by what the file system says of them."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

_WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf", ".npz"})
_THREADS = 4

Signature = tuple[tuple[str, int, int, int], ...]


def weight_files(path: Path) -> list[Path]:
    """Give the files at `path`, a directory or one file, that hold weights or say how they are quantised."""
    if path.is_file():
        return [path]
    return sorted(
        file
        for file in path.iterdir()
        if file.is_file() and (file.suffix in _WEIGHTS or (file.suffix == ".json" and "quant" in file.name))
    )


def signature(files: Iterable[Path]) -> Signature:
    """Give what changes with the files without reading them."""
    found = []
    for file in files:
        state = file.stat()
        found.append((str(file.resolve()), state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    return tuple(found)


def digest_of(files: list[Path]) -> str:
    """Give a hash over the names and bytes of files. Those that have not changed since the last time are not read."""
    known = _Remembered()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="pegaflow-weights") as pool:
        digests = list(pool.map(known.digest, files))
    known.save()
    pairs = [[file.name, digest] for file, digest in zip(files, digests, strict=True)]
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


class _Remembered:
    """The hashes of files, in the user's cache directory."""

    def __init__(self) -> None:
        cache = os.environ.get("XDG_CACHE_HOME")
        self._path = Path(cache) if cache else Path.home() / ".cache"
        self._path /= "pegaflow/weights.json"
        self._known: dict[str, str] = {}
        with suppress(OSError, ValueError):
            self._known = json.loads(self._path.read_text(encoding="utf-8"))
        self._is_changed = False

    def digest(self, file: Path) -> str:
        """Give the hash over the bytes of a file."""
        real = file.resolve()
        # The Hugging Face cache names a file by the SHA-256 of its bytes.
        if real.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", real.name):
            return real.name
        name = json.dumps(signature([file]))
        if name not in self._known:
            with file.open("rb") as opened:
                self._known[name] = hashlib.file_digest(opened, "sha256").hexdigest()
            self._is_changed = True
        return self._known[name]

    def save(self) -> None:
        """Keep what was hashed anew, whole or not at all. Where nothing can be written it is hashed again next time."""
        if not self._is_changed:
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False, encoding="utf-8") as file:
                json.dump(self._known, file)
            Path(file.name).replace(self._path)
