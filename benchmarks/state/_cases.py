"""What is measured: each way of writing beside the floor that puts the same bytes on the disk."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.flow._rounds import Case
from benchmarks.state import _floors, _rows, _stores
from penguiflow_state import SqliteStateStore
from penguiflow_state._store import Durability
from penguiflow_state.postgres import PostgresStateStore

__all__ = ["QUICK", "Counts", "every_case"]


@dataclass(frozen=True)
class Counts:
    """How many events or steps one sample writes."""

    at_once: int = 12_800
    alone: int = 300


QUICK = Counts(at_once=640, alone=20)

EVENTS = _floors.Table("event_floor", "trace_id text, ts double precision, kind text, data text", _rows.event_row)
STEPS = _floors.Table("step_floor", "trace_id text, message_id text, node_name text, outputs text", _rows.step_row)

Sample = Callable[[int], Coroutine[Any, Any, float]]
Floor = Callable[[_floors.Table, int, int], float]


def every_case(counts: Counts, folder: Path, dsn: str) -> list[Case]:
    """Return the cases of both databases."""
    sqlite = functools.partial(_floors.on_sqlite, folder)
    postgres = functools.partial(_floors.on_postgres, dsn)
    return [
        *_cases("sqlite", counts, sqlite, lambda durability: _fresh_file(folder, durability)),
        *_cases("postgres", counts, postgres, lambda durability: _fresh_schema(dsn, durability)),
    ]


def _cases(part: str, counts: Counts, floor: Floor, make: Callable[[Durability], _stores.Make]) -> Iterator[Case]:
    for what, table, write, contender in (
        ("events", EVENTS, _stores.save_events, "save_event"),
        ("steps", STEPS, _stores.record_steps, "record_step"),
    ):
        for task, count, tasks, size, at_most in (
            ("64 writers", counts.at_once, 64, _floors.GROUP, 2.5),
            ("1 writer", counts.alone, 1, 1, 2.0),
        ):
            loop = "64 a commit" if size > 1 else "commit each"
            base = Case(
                part=part, task=task, payloads=what, contender=loop, count=count, sample=_sync(floor, table, size)
            )
            yield base
            for durability in ("group", "async"):
                yield Case(
                    part=part,
                    task=task,
                    payloads=what,
                    contender=f"{contender}, {durability}",
                    count=count,
                    sample=functools.partial(_written, write, make(durability), tasks),
                    floors=(base,),
                    at_most=at_most if durability == "group" else None,
                )


async def _written(
    write: Callable[[_stores.Make, int, int], Coroutine[Any, Any, float]], make: _stores.Make, tasks: int, count: int
) -> float:
    return await write(make, max(count, tasks), tasks)


def _sync(floor: Floor, table: _floors.Table, size: int) -> Sample:
    async def sample(count: int) -> float:
        return floor(table, count, size)

    return sample


def _fresh_file(folder: Path, durability: Durability) -> _stores.Make:
    def make() -> SqliteStateStore:
        for old in folder.glob("store.db*"):
            old.unlink()
        return SqliteStateStore(folder / "store.db", durability=durability)

    return make


def _fresh_schema(dsn: str, durability: Durability) -> _stores.Make:
    return lambda: PostgresStateStore(dsn, durability=durability, schema=f"bench_{uuid.uuid4().hex}")
