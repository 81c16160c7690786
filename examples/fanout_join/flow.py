"""Measures a text in three ways at once and joins what is found: `flow.py FILE`.

Each message goes to every successor of `read`; `join_k` waits for the three parts, and merges their metadata.
"""

import hashlib
import re
import sys
import time
from collections import Counter
from pathlib import Path

import anyio

from penguiflow import Context, FlowError, Message, Node, PenguiFlow, create, join_k


async def read(path: str, ctx: Context) -> str:
    return await anyio.Path(path).read_text(encoding="utf-8")


async def count(message: Message, ctx: Context) -> Message:
    text = message.payload
    return _part(message, ctx, f"{len(text.splitlines())} lines, {len(text.split())} words")


async def frequent(message: Message, ctx: Context) -> Message:
    words = Counter(re.findall(r"[a-z]{4,}", message.payload.lower())).most_common(3)
    return _part(message, ctx, "most frequent: " + ", ".join(word for word, _ in words))


async def digest(message: Message, ctx: Context) -> Message:
    # Hashing is work for a thread: the event loop would wait for a large text.
    data = message.payload.encode()
    sha256 = await anyio.to_thread.run_sync(lambda: hashlib.sha256(data).hexdigest())
    return _part(message, ctx, f"sha256: {sha256[:16]}…")


def _part(message: Message, ctx: Context, text: str) -> Message:
    """Put a finding in place of the text, and beside it when it was found."""
    age_ms = (time.time() - message.ts) * 1000
    return message.model_copy(update={"payload": text, "meta": {**message.meta, ctx.node_name: f"{age_ms:.0f} ms"}})


async def summarize(message: Message, ctx: Context) -> str:
    findings = "\n".join(sorted(message.payload))
    times = ", ".join(f"{name} after {age}" for name, age in sorted(message.meta.items()) if name != "source")
    return f"{message.meta['source']}\n{findings}\n({times})"


def build_flow() -> PenguiFlow:
    start, end = Node(read), Node(summarize)
    parts = Node(count), Node(frequent), Node(digest)
    gather = join_k("gather", len(parts))
    return create(start.to(*parts), *(part.to(gather) for part in parts), gather.to(end))


def main() -> int:
    path = sys.argv[1] if sys.argv[1:] else __file__
    try:
        print(build_flow().ask_sync(Message(payload=path, meta={"source": Path(path).name})))
    except FlowError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
