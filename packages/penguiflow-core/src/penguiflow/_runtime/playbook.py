"""Runs another flow inside a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from penguiflow._runtime.budgets import inherit_budgets
from penguiflow._runtime.caller_slot import CallerSlot
from penguiflow._runtime.outcome import only_value
from penguiflow.errors import FlowDefinitionError
from penguiflow.types import Message, Payload

if TYPE_CHECKING:
    from penguiflow._runtime.context import Context
    from penguiflow._runtime.flow import PenguiFlow
    from penguiflow.registry import ModelRegistry

__all__ = ["Playbook", "open_playbook", "run_playbook"]

Playbook: TypeAlias = "PenguiFlow | Callable[[], PenguiFlow | tuple[PenguiFlow, ModelRegistry | None]]"
"""A flow that runs already, or a function that makes a fresh one, with its registry if it has one."""


async def run_playbook(ctx: Context, playbook: Playbook, parent_msg: Payload, timeout: float | None) -> Payload:  # noqa: ASYNC109
    """See `Context.call_playbook`."""
    from penguiflow._runtime.admission import admit

    flow, registry = open_playbook(playbook)
    borrowed = await flow.borrow(ctx._run.runtime, registry)
    try:
        if ctx._run.done:
            raise ctx._run.ended_error(ctx._station.name)
        value = _adopt(ctx, parent_msg)
        run = flow.open_child(ctx._run, value)
        inherit_budgets(run, ctx._run, ctx._value, parent_msg)
        slot = run.caller_slot = CallerSlot(ctx._station)
        try:
            slot.lend_in_recursion(run)
            async with asyncio.timeout(timeout):
                await admit(run, value, run.runtime.entries)
                await run.wait()
        finally:
            slot.take_back()
            if not run.done:
                run.runtime.cancel(run)
        return only_value(run)
    finally:
        await flow.give_back(borrowed)


def open_playbook(playbook: Playbook) -> tuple[PenguiFlow, ModelRegistry | None]:
    """Return the flow of a playbook, and the registry it brings."""
    from penguiflow._runtime.flow import PenguiFlow

    if isinstance(playbook, PenguiFlow):
        return playbook, None
    made = playbook() if callable(playbook) else playbook
    flow, registry = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(flow, PenguiFlow):
        raise FlowDefinitionError(
            f"a playbook is a flow, or a function that returns a flow or (flow, registry); this one gave {made!r}"
        )
    return flow, registry


def _adopt(ctx: Context, parent_msg: Payload) -> Payload:
    """Return what the subflow starts with: a message with what it inherits, or the bare payload as it is."""
    if not isinstance(parent_msg, Message):
        return parent_msg
    update: dict[str, object] = {}
    if parent_msg.meta is not ctx.meta:
        update["meta"] = {**ctx.meta, **parent_msg.meta}
    deadlines = [deadline for deadline in (parent_msg.deadline_s, ctx.deadline_s) if deadline is not None]
    if deadlines:
        update["deadline_s"] = min(deadlines)
    return parent_msg.model_copy(update=update)
