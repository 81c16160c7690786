"""A scheduler and two workers share the blocks of a prompt through a sidecar."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pegaflow
from pegaflow import BlockCache

BLOCK_BYTES = 1 << 20
BLOCK_TOKENS = 16
FIRST_PROMPT = [f"token {i}" for i in range(8 * BLOCK_TOKENS)]
SECOND_PROMPT = [*FIRST_PROMPT[: 6 * BLOCK_TOKENS], *(f"other {i}" for i in range(2 * BLOCK_TOKENS))]


def chain(tokens: list[str]) -> list[bytes]:
    """Name each block by everything up to its end: equal names mean equal prefixes."""
    names = []
    name = b""
    for start in range(0, len(tokens), BLOCK_TOKENS):
        name = hashlib.sha256(name + "\n".join(tokens[start : start + BLOCK_TOKENS]).encode()).digest()
        names.append(name)
    return names


def compute(name: bytes) -> bytes:
    """Stand in for the model: the bytes of a block follow from what it stands for."""
    return hashlib.shake_256(name).digest(BLOCK_BYTES)


@contextmanager
def sidecar(socket: Path) -> Iterator[None]:
    """Run a sidecar until the context ends."""
    command = [sys.executable, "-m", "pegaflow", "serve", "--socket", str(socket), "--memory", "64MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        print(server.stdout.readline().split(" on ")[0])
        try:
            yield
        finally:
            server.terminate()
    print(f"sidecar ended with {server.returncode}")


def schedule(socket: Path) -> None:
    """Store one prompt, lease what another shares with it, and let two workers load that."""
    with pegaflow.connect(socket) as engine:
        cache = BlockCache(engine, "model")
        first = chain(FIRST_PROMPT)
        cache.store(first, [compute(name) for name in first])
        second = chain(SECOND_PROMPT)
        shared = cache.match_prefix(second)
        print(f"{shared} of {len(second)} blocks are there")
        with cache.lease(second[:shared]) as lease:
            for half in ("even", "odd"):
                arguments = [str(socket), str(lease.token), half]
                subprocess.run([sys.executable, __file__, *arguments], check=True)
        print(f"hit rate {cache.stats()['hit_rate']:.0%}")


def work(socket: Path, token: int, half: str) -> None:
    """Load every second block of a lease that the scheduler holds."""
    with pegaflow.connect(socket) as engine:
        cache = BlockCache(engine, "model")
        lease = cache.attach(token)
        wanted = range(0 if half == "even" else 1, len(lease.present), 2)
        buffers = {position: bytearray(BLOCK_BYTES) for position in wanted}
        failed = cache.load_into(lease, [buffers.get(position) for position in range(len(lease.present))])
        names = chain(SECOND_PROMPT)
        assert all(buffer == compute(names[position]) for position, buffer in buffers.items())
        print(f"worker {half}: {len(buffers)} blocks loaded, {len(failed)} failed", flush=True)


def main() -> None:
    """Run everything, or be one of the workers."""
    if len(sys.argv) > 1:
        work(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
        return
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory) / "sidecar.sock"
        with sidecar(socket):
            schedule(socket)


if __name__ == "__main__":
    main()
