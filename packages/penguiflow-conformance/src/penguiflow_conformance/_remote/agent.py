"""The agent that the tests of a transport talk to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from penguiflow.types import Json

__all__ = ["AgentEnded", "ContractAgent", "EndState"]

EndState: TypeAlias = Literal["failed", "rejected", "input-required"]
"""How a task of the agent may end without a result."""


class AgentEnded(Exception):
    """The task ends in `state` and gives no result; `message` is what the agent says about it."""

    def __init__(self, state: EndState, message: str) -> None:
        super().__init__(f"the task is {state}: {message}")
        self.state = state
        self.message = message


class ContractAgent:
    """What the agent behind a transport under test has to do; put it behind your protocol's server.

    It belongs to one event loop. Its skills are: `echo` returns the payload. `tell` emits each text of a list, and
    returns how many there were. `fail`, `reject` and `ask` end in `failed`, `rejected` and `input-required`. `wait`
    emits "waiting" and waits until `release` is called with the same payload, a key, or until it is cancelled.
    `report` tells for a key how many waits were started and cancelled.
    """

    def __init__(self) -> None:
        self._started: Counter[str] = Counter()
        self._cancelled: Counter[str] = Counter()
        self._released: dict[str, asyncio.Event] = {}

    async def answer(self, skill: str, payload: Json, emit: Callable[[str], Awaitable[None]]) -> Json:
        """Do what a message asks for: `emit` streams a piece of text, what is returned is the result.

        Cancelling this call is cancelling the task.

        Raises:
            AgentEnded: the task has to end in another state than `completed`.
            LookupError: there is no such skill.
        """
        match skill:
            case "echo":
                return payload
            case "tell":
                for text in payload:
                    await emit(text)
                return len(payload)
            case "wait":
                return await self._wait(payload, emit)
            case "release":
                self._event(payload).set()
                return None
            case "report":
                return {"started": self._started[payload], "cancelled": self._cancelled[payload]}
            case _:
                raise _ended(skill)

    async def _wait(self, key: str, emit: Callable[[str], Awaitable[None]]) -> Json:
        self._started[key] += 1
        try:
            await emit("waiting")
            await self._event(key).wait()
        except asyncio.CancelledError:
            self._cancelled[key] += 1
            raise
        return f"released {key}"

    def _event(self, key: str) -> asyncio.Event:
        return self._released.setdefault(key, asyncio.Event())


def _ended(skill: str) -> Exception:
    states: dict[str, EndState] = {"fail": "failed", "reject": "rejected", "ask": "input-required"}
    if skill not in states:
        return LookupError(f"the contract agent has no skill {skill!r}")
    return AgentEnded(states[skill], f"asked to {skill}")
