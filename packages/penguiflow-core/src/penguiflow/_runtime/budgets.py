"""Hop and token budgets of controller loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from penguiflow.types import WM, FinalAnswer, Message, Payload

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run
    from penguiflow._runtime.station import Station

__all__ = ["inherit_budgets", "take_hop"]


def take_hop(run: Run, station: Station, value: Payload, give: Callable[[str, Payload], None]) -> Payload:
    """Count one turn of a loop; where a budget is spent, give one `FinalAnswer` in its place and return None."""
    memory: WM = value.payload if isinstance(value, Message) else value
    spent = _spent(run, memory)
    if spent is None:
        if run.hops_left is not None:
            run.hops_left -= 1
        memory = memory.model_copy(update={"hops": memory.hops + 1})
        return value.model_copy(update={"payload": memory}) if isinstance(value, Message) else memory
    if run.budget_spent:
        return None
    run.budget_spent = True
    events = run.runtime.events
    if events is not None:
        events.post("budget_exceeded", run, station, hops=memory.hops, tokens_used=memory.tokens_used)
    answer = FinalAnswer(text=spent)
    give(station.name, value.model_copy(update={"payload": answer}) if isinstance(value, Message) else answer)
    return None


def _spent(run: Run, memory: WM) -> str | None:
    if memory.budget_hops is not None and memory.hops >= memory.budget_hops:
        return f"Hop budget exhausted after {memory.hops} hops"
    if run.hops_left is not None and run.hops_left <= 0:
        return f"Hop budget of the calling flow exhausted after {memory.hops} hops"
    if memory.budget_tokens is not None and memory.tokens_used >= memory.budget_tokens:
        return f"Token budget exhausted: {memory.tokens_used} of {memory.budget_tokens} tokens used"
    if run.tokens_left is not None and memory.tokens_used >= run.tokens_left:
        return f"Token budget of the calling flow exhausted: {memory.tokens_used} of {run.tokens_left} tokens used"
    return None


def inherit_budgets(child: Run, parent: Run, caller: Payload, passed: Payload) -> None:
    """Hold a subflow to what is left of its caller's budgets.

    `caller` is what the calling node was given, `passed` what it hands to the subflow. Tokens that a `WM` in `passed`
    has counted already are the caller's.
    """
    memory = _bare(caller)
    hops_left, tokens_left = parent.hops_left, parent.tokens_left
    if isinstance(memory, WM):
        hops_left = _least(hops_left, _left(memory.budget_hops, memory.hops))
        tokens_left = _least(tokens_left, _left(memory.budget_tokens, memory.tokens_used))
    started = _bare(passed)
    counted = started.tokens_used if isinstance(started, WM) else 0
    child.hops_left = hops_left
    child.tokens_left = None if tokens_left is None else tokens_left + counted


def _bare(value: Payload) -> Payload:
    return value.payload if isinstance(value, Message) else value


def _left(budget: int | None, used: int) -> int | None:
    return None if budget is None else max(0, budget - used)


def _least(first: int | None, second: int | None) -> int | None:
    known = [bound for bound in (first, second) if bound is not None]
    return min(known) if known else None
