"""What can go wrong between this process and an agent.

::

    RemoteFailed (penguiflow)     a remote agent failed, or did not answer as agreed
    └── A2AError                  … over A2A; `code` says how
        ├── AgentUnreachable      no connection, or it broke
        ├── AgentTooSlow          an answer, or the rest of one, took too long
        ├── AgentMisbehaved       an answer that the protocol does not allow
        ├── AnswerTooLarge        an answer above one of the limits
        ├── AgentElsewhere        a redirect, or a card that leads to another host
        ├── AgentIncompatible     a card without an interface that this client speaks
        ├── AgentRefused          the agent answered with an error (http_status, rpc_code, reason)
        │   └── TaskUnknown       … it does not know the task (also a LookupError)
        └── MessageInDoubt        a message that the agent may have got already is not sent twice
"""

from __future__ import annotations

from typing import ClassVar

from penguiflow import RemoteFailed

__all__ = [
    "A2AError",
    "AgentElsewhere",
    "AgentIncompatible",
    "AgentMisbehaved",
    "AgentRefused",
    "AgentTooSlow",
    "AgentUnreachable",
    "AnswerTooLarge",
    "MessageInDoubt",
    "TaskUnknown",
]


class A2AError(RemoteFailed):
    """A call over A2A failed. The base of what `A2AClientTransport` raises; each class has a stable `code`."""

    CODE: ClassVar[str] = "A2A_FAILED"

    def __init__(
        self,
        agent_url: str,
        message: str,
        *,
        context_id: str | None = None,
        task_id: str | None = None,
        original_exc: BaseException | None = None,
    ) -> None:
        super().__init__(
            message,
            agent_url=agent_url,
            context_id=context_id,
            task_id=task_id,
            code=self.CODE,
            original_exc=original_exc,
        )


class AgentUnreachable(A2AError):
    """There was no connection, or it broke. `sent` is False where the agent surely got nothing of the request."""

    CODE = "A2A_UNREACHABLE"

    def __init__(self, agent_url: str, message: str, *, sent: bool, original_exc: BaseException | None = None) -> None:
        super().__init__(agent_url, message, original_exc=original_exc)
        self.sent = sent


class AgentTooSlow(A2AError):
    """An answer, or the rest of one, took longer than `limit_s`, which is called `limit`."""

    CODE = "A2A_TIMEOUT"

    def __init__(self, agent_url: str, what: str, *, limit: str, limit_s: float) -> None:
        super().__init__(agent_url, f"{what} took longer than {limit}={limit_s:g}; see A2ATimeouts")
        self.limit = limit
        self.limit_s = limit_s


class AgentMisbehaved(A2AError):
    """The agent answered with something that the protocol does not allow."""

    CODE = "A2A_BAD_ANSWER"


class AnswerTooLarge(A2AError):
    """An answer is larger than the bound `limit`."""

    CODE = "A2A_TOO_LARGE"

    def __init__(self, agent_url: str, what: str, *, limit: str, allowed: int) -> None:
        super().__init__(agent_url, f"{what} is larger than {limit}={allowed}; see AnswerLimits")
        self.limit = limit
        self.allowed = allowed


class AgentElsewhere(A2AError):
    """A redirect, a card or an address leads to `location`, which is not where this transport may go."""

    CODE = "A2A_ELSEWHERE"

    def __init__(self, agent_url: str, what: str, *, location: str) -> None:
        super().__init__(agent_url, f"{what} leads to {location[:200]}")
        self.location = location


class AgentIncompatible(A2AError):
    """The agent's card names no interface that this client speaks."""

    CODE = "A2A_INCOMPATIBLE"


class AgentRefused(A2AError):
    """The agent answered with an error; what it said of it stands in the attributes, as far as it did."""

    CODE = "A2A_REFUSED"

    def __init__(
        self,
        agent_url: str,
        message: str,
        *,
        http_status: int | None = None,
        rpc_code: int | None = None,
        reason: str | None = None,
        retry_after_s: float | None = None,
        task_id: str | None = None,
    ) -> None:
        super().__init__(agent_url, message, task_id=task_id)
        self.http_status = http_status
        """The status of the HTTP response, where that is what told of the error."""
        self.rpc_code = rpc_code
        """The JSON-RPC code, where there is one."""
        self.reason = reason
        """The reason as version 1.0 names it, such as `TASK_NOT_CANCELABLE`; that of the code in version 0.3."""
        self.retry_after_s = retry_after_s
        """Seconds after which the agent may be asked again, where it said so."""


class TaskUnknown(AgentRefused, LookupError):
    """The agent does not know the task, or not any more."""

    CODE = "A2A_TASK_UNKNOWN"


class MessageInDoubt(A2AError):
    """The connection was lost while a message was on its way: the agent may have got it, so it is not sent again."""

    CODE = "A2A_IN_DOUBT"

    def __init__(self, agent_url: str, message_id: str) -> None:
        super().__init__(
            agent_url,
            f"message {message_id} was sent before and may have arrived; it is not sent twice. "
            f"Pass resend_in_doubt=True to the transport if the agent tells messages by their id",
        )
        self.message_id = message_id
