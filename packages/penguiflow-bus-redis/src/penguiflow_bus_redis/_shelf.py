"""What a consumer has read ahead of its receivers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from penguiflow_bus_redis._encoding import decode, trace_of

__all__ = ["Entry", "Shelf"]

_BANDS = range(3)
_RETURNED = 64
"""So many messages that came back are taken at once."""


class Entry:
    """A message that a member of a queue holds at the server."""

    __slots__ = ("attempt", "deadline", "entry_id", "has_returned", "member", "message", "place")

    def __init__(self, member: str, place: str, entry_id: bytes, message: Any, attempt: int) -> None:
        self.member = member
        self.place = place
        """Partition and band, as `3:1`."""
        self.entry_id = entry_id
        self.message = message
        self.attempt = attempt
        """How often it was delivered before."""
        self.deadline = 0.0
        """While it is leased: when that ends, by the clock of the loop."""
        self.has_returned = False
        """Whether someone had read it before; each delivery of such a one is counted at the server."""

    @property
    def partition(self) -> int:
        """The partition it is in."""
        return int(self.place.partition(":")[0])

    @property
    def order(self) -> tuple[int, int]:
        """What sorts messages as they were put: milliseconds, and the number within one, as Redis names entries."""
        milliseconds, _, number = self.entry_id.partition(b"-")
        return int(milliseconds), int(number)


class Shelf:
    """Messages that were read and handed to nobody.

    Those that came back wait in `_returned` until they are counted as delivered, and then in `_counted`; new ones wait
    in a line for each band. A message that has come back half as often as it may is suspect: it may be what kills its
    receivers, so one such is handed out at a time, for it not to take others with it.
    """

    def __init__(self, read_ahead: int, max_deliveries: int | None) -> None:
        self._read_ahead = read_ahead
        self._suspect_from = None if max_deliveries is None else max(2, max_deliveries // 2)
        self._returned: deque[Entry] = deque()
        self._counted: deque[Entry] = deque()
        self._lines: tuple[deque[Entry], ...] = tuple(deque() for _ in _BANDS)
        self._suspect: Entry | None = None
        self._asked = [0, 0, 0, 0]
        self._is_drained = False
        self._is_capped = False

    @property
    def is_hungry(self) -> bool:
        """Whether it is time to read more, by what the last reading left at the server."""
        if self._is_capped and len(self._returned) + len(self._counted) <= _RETURNED // 2:
            return True
        return not self._is_drained and sum(map(len, self._lines)) <= self._read_ahead // 2

    def clear(self) -> None:
        """Forget everything."""
        for line in (self._returned, self._counted, *self._lines):
            line.clear()
        self._suspect = None
        self._is_drained = self._is_capped = False

    def wants(self) -> list[int]:
        """Return how many to read: of those that came back, and of each band."""
        room = [self._read_ahead - len(line) for line in self._lines]
        back = max(0, _RETURNED - len(self._returned) - len(self._counted))
        self._asked = [back, *(free if 2 * free >= self._read_ahead else 0 for free in room)]
        return self._asked

    def fill(self, member: str, returned: list[Any], fresh: list[Any]) -> list[Entry]:
        """Take what was read; returns those that are no messages."""
        broken: list[Entry] = []
        for place, entry_id, payload, attempts in returned:
            entry = Entry(member, place.decode(), entry_id, payload, int(attempts))
            entry.has_returned = True
            _place(entry, self._returned, broken)
        got = [0, 0, 0]
        for place_bytes, entries in fresh:
            place = place_bytes.decode()
            band = int(place[-1])
            got[band] += len(entries)
            line = self._lines[band]
            for entry_id, fields in entries:
                _place(Entry(member, place, entry_id, fields[1], 0), line, broken)
        self._is_drained = all(had < asked for had, asked in zip(got, self._asked[1:], strict=True))
        self._is_capped = len(returned) >= self._asked[0]
        if len(fresh) > 1:
            for line, added in zip(self._lines, got, strict=True):
                if added:
                    ordered = sorted(line, key=lambda entry: entry.order)
                    line.clear()
                    line.extend(ordered)
        return broken

    def take(self) -> Entry | None:
        """Take the next one that may be handed out."""
        if self._counted:
            return self._counted.popleft()
        if self._returned and self.count_returned():
            return None
        for line in self._lines:
            if line:
                return line.popleft()
        return None

    def put_back(self, entry: Entry) -> None:
        """Take one back that nobody has seen."""
        if entry.has_returned:
            self._counted.appendleft(entry)
        else:
            self._lines[int(entry.place[-1])].appendleft(entry)

    def count_returned(self) -> int:
        """Return how many of those that came back may be counted as delivered now."""
        return sum(1 for entry in self._returned if not self._has_to_wait(entry))

    def choose_returned(self, count: int) -> list[Entry]:
        """Take up to so many of those that came back, which are then to be counted."""
        chosen: list[Entry] = []
        kept: list[Entry] = []
        while self._returned and len(chosen) < count:
            entry = self._returned.popleft()
            if self._has_to_wait(entry):
                kept.append(entry)
                continue
            if self._is_suspect(entry):
                self._suspect = entry
            chosen.append(entry)
        self._returned.extendleft(reversed(kept))
        return chosen

    def counted(self, entries: Iterable[Entry]) -> None:
        """Have them handed out next."""
        self._counted.extend(entries)

    def ended(self, entry: Entry) -> bool:
        """Learn that someone is done with a message; returns whether others waited for that."""
        if self._suspect is entry:
            self._suspect = None
            return bool(self._returned)
        return False

    def withdraw(self, first: Entry, trace: str) -> list[Entry]:
        """Take out messages of the same trace and place that were put later than `first`."""
        taken: list[Entry] = []
        for line in (self._returned, self._counted, *self._lines):
            mine = [one for one in line if one.partition == first.partition and one.order > first.order]
            mine = [one for one in mine if trace_of(one.message) == trace]
            for entry in mine:
                line.remove(entry)
            taken += mine
        self._forget_suspect(taken)
        return taken

    def remove(self, partitions: set[int] | None) -> list[Entry]:
        """Take out everything of some partitions, or of all."""
        taken: list[Entry] = []
        for line in (self._returned, self._counted, *self._lines):
            mine = [one for one in line if partitions is None or one.partition in partitions]
            taken += mine
            kept = [one for one in line if partitions is not None and one.partition not in partitions]
            line.clear()
            line.extend(kept)
        self._forget_suspect(taken)
        return taken

    def names(self) -> set[tuple[str, bytes]]:
        """Return place and id of everything."""
        lines = (self._returned, self._counted, *self._lines)
        return {(entry.place, entry.entry_id) for line in lines for entry in line}

    def _forget_suspect(self, taken: list[Entry]) -> None:
        if self._suspect in taken:
            self._suspect = None

    def _is_suspect(self, entry: Entry) -> bool:
        return self._suspect_from is not None and entry.attempt >= self._suspect_from

    def _has_to_wait(self, entry: Entry) -> bool:
        return self._suspect is not None and self._suspect is not entry and self._is_suspect(entry)


def _place(entry: Entry, line: deque[Entry], broken: list[Entry]) -> None:
    try:
        entry.message = decode(entry.message)
    except ValueError:
        broken.append(entry)
    else:
        line.append(entry)
