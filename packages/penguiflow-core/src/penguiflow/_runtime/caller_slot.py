"""The slot of a node that waits for a playbook."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run
    from penguiflow._runtime.station import Station

__all__ = ["CallerSlot"]


class CallerSlot:
    """Held while the node waits, and lent to other traces where a flow calls itself, be it through another flow.

    Otherwise as many calls as the node has slots could all wait for one more.
    """

    __slots__ = ("_lent", "_station")

    def __init__(self, station: Station) -> None:
        self._station = station
        self._lent = False

    @staticmethod
    def lend_in_recursion(run: Run) -> None:
        """Lend the slots of all callers between a playbook's run and an earlier one of the same flow."""
        slots: list[CallerSlot] = []
        caller: Run | None = run
        while caller is not None:
            if caller is not run and caller.runtime is run.runtime:
                for slot in slots:
                    slot._lend()
            if caller.caller_slot is not None:
                slots.append(caller.caller_slot)
            caller = caller.parent

    def take_back(self) -> None:
        """Take the slot again, even above the node's limit: the node goes on now."""
        if self._lent:
            self._lent = False
            self._station.active += 1

    def _lend(self) -> None:
        if not self._lent:
            self._lent = True
            self._station.free_slot()
