"""Messages of which nobody can say whether their agent acted on them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from penguiflow_a2a._client.call import Call
from penguiflow_a2a._client.failures import A2AError, AgentElsewhere, AgentRefused, AgentUnreachable

__all__ = ["Doubt", "Doubts"]

_CAP = 10_000


@dataclass(frozen=True, slots=True)
class Doubt:
    """A message that its agent may be at work on."""

    task_id: str | None
    """The task it became, where the agent has named it."""


class Doubts:
    """Remembers, of the latest messages, those whose end is not known: they must not be sent a second time."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str], Doubt] = OrderedDict()

    def find(self, agent_url: str, message_id: str) -> Doubt | None:
        """Return what is known of a message that may have arrived; None for one that may be sent."""
        return self._open.get((agent_url, message_id))

    def settle(self, agent_url: str, message_id: str) -> None:
        """Note that a message may be sent again."""
        self._open.pop((agent_url, message_id), None)

    def forget_task(self, agent_url: str, task_id: str) -> None:
        """Note that nobody waits for a task any more."""
        for key, doubt in list(self._open.items()):
            if key[0] == agent_url and doubt.task_id == task_id:
                del self._open[key]

    @contextmanager
    def about(self, agent_url: str, message_id: str, call: Call) -> Iterator[None]:
        """Watch over a call that sends a message: what ends it without an outcome leaves a doubt."""
        try:
            yield
        except A2AError as error:
            self._after(agent_url, message_id, call, refused=_surely_refused(error))
            raise
        except asyncio.CancelledError:
            # Its caller cancels the task, where there is one; where none was named in time, nobody does.
            if call.task_id is None and not call.cancelled_early:
                self._after(agent_url, message_id, call, refused=False)
            raise
        self.settle(agent_url, message_id)

    def _after(self, agent_url: str, message_id: str, call: Call, *, refused: bool) -> None:
        key = agent_url, message_id
        self._open.pop(key, None)
        if call.settled or (refused and call.task_id is None):
            return
        self._open[key] = Doubt(call.task_id)
        if len(self._open) > _CAP:
            self._open.popitem(last=False)


def _surely_refused(error: A2AError) -> bool:
    """Say whether the agent did not act on the message: it never got it, or answered with an error.

    A status of 500 and above may come from a gateway that passed the message on before it lost the agent.
    """
    if isinstance(error, AgentUnreachable):
        return not error.sent
    if isinstance(error, AgentRefused):
        by_agent = error.rpc_code is not None or error.reason is not None
        return by_agent or (error.http_status or 0) < 500 or error.retry_after_s is not None
    return isinstance(error, AgentElsewhere)
