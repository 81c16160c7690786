"""Dead letters, as Redis keeps them."""

from __future__ import annotations

import heapq
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from penguiflow.bus import DeadLetter
from penguiflow_bus_redis._encoding import decode
from penguiflow_bus_redis._links import Link
from penguiflow_bus_redis._settings import Settings

__all__ = ["list_dead", "replay_dead"]

_BATCH = 100
_LETTER_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


async def list_dead(link: Link, settings: Settings, queue: str | None, limit: int) -> list[DeadLetter]:
    """Return dead letters of a queue, or of every queue that was ever read from, the oldest first."""
    queues = [queue] if queue is not None else await _queues(link, settings)
    found: list[list[DeadLetter]] = []
    for name in queues:
        reply = await link.insist_command("XRANGE", f"{settings.key(name)}:dead", "-", "+", "COUNT", limit)
        found.append([_letter(name, letter_id, fields) for letter_id, fields in reply])
    return list(heapq.merge(*found, key=lambda letter: letter.dead_s))[:limit]


async def replay_dead(
    link: Link, settings: Settings, queue: str, letter_ids: Sequence[str] | None, room: Callable[[], Awaitable[None]]
) -> int:
    """Put dead letters back into their queue, awaiting `room` while it is full; returns how many."""
    key = settings.key(queue)
    if letter_ids is None:
        reply = await link.insist_command("XRANGE", f"{key}:dead", "-", "+")
        letter_ids = [letter_id.decode() for letter_id, _ in reply]
    # Redis answers a name that is none with an error.
    left, replayed = [letter_id for letter_id in letter_ids if _LETTER_ID.fullmatch(letter_id)], 0
    while left:
        batch = left[:_BATCH]
        done, count = await link.insist("replay", key, settings.max_len, settings.channel, *batch)
        replayed += count
        left = left[done:]
        if done < len(batch):
            await room()
    return replayed


async def _queues(link: Link, settings: Settings) -> list[str]:
    return sorted(name.decode() for name in await link.insist_command("SMEMBERS", f"{settings.prefix}:queues"))


def _letter(queue: str, letter_id: bytes, fields: list[bytes]) -> DeadLetter:
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    try:
        message: Any = decode(values[b"m"])
    except ValueError:
        message = values[b"m"].decode(errors="replace")
    return DeadLetter(
        queue=queue,
        letter_id=letter_id.decode(),
        message=message,
        reason=values[b"reason"].decode(),
        attempts=int(values[b"attempts"]),
        dead_s=int(letter_id.partition(b"-")[0]) / 1000,
    )
