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
_SETTINGS = ("quant", "processor")
"""Part of the names of JSON files that say how weights are quantised, and what a model makes of images and sounds."""

_THREADS = 4

Signature = tuple[tuple[str, int, int, int], ...]


def weight_files(path: Path) -> list[Path]:
    """Give the files at `path`, a directory or one file, that hold weights or say how a model uses them."""
    if path.is_file():
        return [path]
    return sorted(
        file for file in path.iterdir() if file.is_file() and (file.suffix in _WEIGHTS or _is_setting(file.name))
    )


def _is_setting(name: str) -> bool:
    return name.endswith(".json") and any(part in name for part in _SETTINGS)


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
        self._path = _cache_directory() / "pegaflow/weights.json"
        self._known = self._read()
        self._new: dict[str, str] = {}

    def _read(self) -> dict[str, str]:
        """Give what is remembered; of a file that is damaged, whatever can be a hash."""
        known: object = None
        with suppress(OSError, ValueError, RecursionError):
            known = json.loads(self._path.read_text(encoding="utf-8"))
        if not isinstance(known, dict):
            return {}
        return {name: digest for name, digest in known.items() if isinstance(digest, str) and _is_sha256(digest)}

    def digest(self, file: Path) -> str:
        """Give the hash over the bytes of a file."""
        real = file.resolve()
        # The Hugging Face cache names a file by the SHA-256 of its bytes.
        if real.parent.name == "blobs" and _is_sha256(real.name):
            return real.name
        name = json.dumps(signature([file]))
        if name not in self._known:
            with file.open("rb") as opened:
                self._known[name] = self._new[name] = hashlib.file_digest(opened, "sha256").hexdigest()
        return self._known[name]

    def save(self) -> None:
        """Keep what was hashed anew, whole or not at all. Where nothing can be written it is hashed again next time."""
        if not self._new:
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._path.parent, ignore_cleanup_errors=True) as directory:
                written = Path(directory) / self._path.name
                # Others have written since this one began to hash.
                written.write_text(json.dumps(self._read() | self._new), encoding="utf-8")
                written.replace(self._path)


def _cache_directory() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    # A user of a container may have no home; nothing can be written below a device.
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home fails then
    return Path(given) if given else Path(os.devnull if home == "~" else home) / ".cache"


def _is_sha256(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None
