"""The floors: a plain loop around the driver of the database, so many rows a commit, each commit on the disk."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.flow._rounds import Stopwatch

__all__ = ["Table", "on_postgres", "on_sqlite"]

Row = tuple[Any, ...]
GROUP = 64


class Table:
    """What a floor fills: the columns of a table, and what makes a row."""

    def __init__(self, name: str, columns: str, row: Callable[[int], Row]) -> None:
        self.name = name
        self.columns = columns
        self.row = row
        self.width = len(columns.split(","))

    def insert(self, mark: str) -> str:
        """Return the statement."""
        return f"INSERT INTO {self.name} VALUES ({', '.join([mark] * self.width)})"

    def groups(self, count: int, size: int) -> Iterator[list[Row]]:
        """Return so many rows, in groups of a size."""
        numbers = iter(range(count))
        while group := [self.row(number) for number in itertools.islice(numbers, size)]:
            yield group


def on_sqlite(folder: Path, table: Table, count: int, size: int) -> float:
    """Insert into a fresh file; returns the seconds it took."""
    path = folder / "floor.db"
    path.unlink(missing_ok=True)
    stopwatch = Stopwatch()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"CREATE TABLE {table.name} ({table.columns})")
        insert = table.insert("?")
        with stopwatch:
            for group in table.groups(count, size):
                db.execute("BEGIN")
                for row in group:
                    db.execute(insert, row)
                db.execute("COMMIT")
    return stopwatch.elapsed_s


def on_postgres(dsn: str, table: Table, count: int, size: int) -> float:
    """Insert into a fresh table, groups by `executemany`, which pipelines; returns the seconds it took."""
    stopwatch = Stopwatch()
    with psycopg.connect(dsn) as db:
        db.execute(f"DROP TABLE IF EXISTS {table.name}".encode())
        db.execute(f"CREATE TABLE {table.name} ({table.columns})".encode())
        db.commit()
        insert = table.insert("%s").encode()
        with db.cursor() as cursor, stopwatch:
            for group in table.groups(count, size):
                if size == 1:
                    cursor.execute(insert, group[0])
                else:
                    cursor.executemany(insert, group)
                db.commit()
    return stopwatch.elapsed_s
