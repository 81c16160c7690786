"""Nodes that hand their message to an agent elsewhere: the RemoteTransport protocol, and RemoteNode."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol, runtime_checkable

from penguiflow._bounds import invalid_bound
from penguiflow._remote_call import RemoteCall, Resubscribe
from penguiflow._runtime.context import Context
from penguiflow.errors import FlowDefinitionError
from penguiflow.node import Node, NodePolicy
from penguiflow.types import Message, Payload

__all__ = ["RemoteNode", "RemoteTransport", "ResumableTransport"]


@runtime_checkable
class RemoteTransport(Protocol):
    """Speaks to remote agents.

    A message going out is `{skill, payload, trace_id, message_id, context_id?, task_id?, meta, deadline_s}`: payload
    and meta as JSON, `message_id` the same on every attempt at the same message, `deadline_s` on the wall clock or
    None. An answer is `{result, context_id, task_id, state}`. States are those of A2A: `completed` is the only one
    that gives a result; `failed`, `rejected`, `canceled`, `input-required` and `auth-required` end the call in an
    error.

    A call that is cancelled releases its connection. What the connection itself does wrong is raised as an ordinary
    exception, and the node's retries apply to it.
    """

    async def send(self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        """Send a message and wait for the answer. `agent_card` is empty where none is known."""
        ...

    def stream(
        self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """Send a message and give the parts of the answer in order, each once.

        Parts are `{kind: "chunk", text, stream_id?, done?, meta?}`, `{kind: "status", state}` and, last,
        `{kind: "result", result, context_id, task_id, state}`. Each may name `context_id` and `task_id`; the sooner
        one does, the sooner the task can be cancelled.
        """
        ...

    async def cancel(self, agent_url: str, task_id: str) -> None:
        """Ask the agent to cancel a task. One that has ended, or is not known, is no error."""
        ...


@runtime_checkable
class ResumableTransport(RemoteTransport, Protocol):
    """A transport that can take up the stream of a task that it did not start itself.

    A flow always calls `stream` of such a transport, unless it is told otherwise: for an agent that cannot stream
    the transport names the task as soon as it knows it, so that it can be cancelled and found again, and then gives
    the result.
    """

    def resubscribe(
        self,
        agent_url: str,
        task_id: str,
        after: str | None = None,
        agent_card: dict[str, Any] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Give the parts of a task's answer as `stream` does, from its beginning or past the part `after`.

        `after` is the `position` of the last part that was taken, where parts have one. What came before and is not
        known one by one any more may come as one chunk.

        Raises:
            LookupError: the agent does not know the task, or does not any more; the message is then sent again.
        """
        ...


def RemoteNode(  # noqa: N802  It reads as what it makes: a Node.
    name: str,
    *,
    transport: RemoteTransport,
    skill: str,
    agent_url: str,
    agent_card: dict[str, Any] | None = None,
    policy: NodePolicy | None = None,
    streaming: bool | None = None,
    cancel_timeout_s: float = 3.0,
    allow_cycle: bool = False,
) -> Node:
    """Make a node that sends each message to a skill of a remote agent and emits the agent's result.

    The agent is streamed from where its card says that it can (`{"capabilities": {"streaming": true}}`), and sent to
    otherwise; `streaming` decides in place of the card. A `ResumableTransport` reads the card itself and is always
    streamed from. Text that streams in goes to the trace's chunks. A `Message` stays a `Message` around the result.

    The remote task is noted in the flow's state store as soon as it is known. With a `ResumableTransport`, and a
    store that has `load_remote_bindings`, a process that takes up the trace again takes up the task, in place of
    sending the message a second time; so does a retry after the connection was lost.

    When the trace is cancelled, passes its deadline, or its flow is stopped, when an attempt times out, and when the
    last attempt fails, the remote task is cancelled too, for at most `cancel_timeout_s` seconds.

    Raises:
        FlowDefinitionError: something here is not usable.
        RemoteFailed: in the trace, when the agent or its transport fails or does not answer as agreed.
    """
    _check(name, transport, skill, agent_url, cancel_timeout_s)
    card = dict(agent_card or {})
    resubscribe: Resubscribe | None = transport.resubscribe if isinstance(transport, ResumableTransport) else None
    streams = resubscribe is not None or _can_stream(card) if streaming is None else streaming

    async def call(message: Payload, ctx: Context) -> Payload:
        remote = RemoteCall(transport, agent_url, card, ctx, cancel_timeout_s=cancel_timeout_s)
        payload = message.payload if isinstance(message, Message) else message
        result = await remote.run(skill, payload, streams=streams, resubscribe=resubscribe)
        return message.model_copy(update={"payload": result}) if isinstance(message, Message) else result

    node = Node(call, name=name, policy=policy, allow_cycle=allow_cycle)
    node.kind = "remote"
    return node


def _check(name: str, transport: object, skill: str, agent_url: str, cancel_timeout_s: float) -> None:
    if not isinstance(transport, RemoteTransport):
        raise FlowDefinitionError(
            f"the transport of remote node {name!r} is {transport!r}, which lacks send, stream or cancel; "
            f"see penguiflow.remote.RemoteTransport",
            node_name=name,
        )
    for what, value in (("skill", skill), ("agent_url", agent_url)):
        if not isinstance(value, str) or not value:
            raise FlowDefinitionError(f"{what} of remote node {name!r} is {value!r}: name one", node_name=name)
    if not cancel_timeout_s > 0:
        raise invalid_bound("cancel_timeout_s", cancel_timeout_s, "a positive number of seconds")


def _can_stream(card: dict[str, Any]) -> bool:
    """Read the switch from a card in JSON, or from one that was flattened into a list of what the agent can do."""
    capabilities = card.get("capabilities")
    if isinstance(capabilities, dict):
        return capabilities.get("streaming") is True
    if isinstance(capabilities, list | tuple):
        return "streaming" in capabilities
    return card.get("streaming") is True
