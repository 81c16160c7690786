"""What clients ask for, and the answers that are no task and no message."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from penguiflow_a2a._protocol._base import Flag, Many, Meta, Optional_, WireModel
from penguiflow_a2a._protocol.tasks import Message, Task, TaskState

__all__ = [
    "AuthenticationInfo",
    "CancelTaskRequest",
    "GetExtendedAgentCardRequest",
    "GetTaskRequest",
    "ListTaskPushNotificationConfigsRequest",
    "ListTaskPushNotificationConfigsResponse",
    "ListTasksRequest",
    "ListTasksResponse",
    "PushNotificationConfigRequest",
    "SendMessageConfiguration",
    "SendMessageRequest",
    "SubscribeToTaskRequest",
    "TaskPushNotificationConfig",
]


def _whole_number(value: object) -> object:
    if isinstance(value, bool | float):
        raise ValueError("expected a whole number")
    return value


_Count = Annotated[int, BeforeValidator(_whole_number), Field(ge=0, le=2**31 - 1)]


class AuthenticationInfo(WireModel):
    """How the agent identifies itself when it calls back."""

    scheme: str
    """An HTTP authentication scheme, such as `Bearer`."""
    credentials: Optional_ = ""


class TaskPushNotificationConfig(WireModel):
    """Where the changes of a task are posted to."""

    tenant: Optional_ = ""
    id: Optional_ = ""
    """Names this configuration among those of its task; the agent chooses one where it is empty."""
    task_id: Optional_ = ""
    url: str
    token: Optional_ = ""
    """Sent along in the header `X-A2A-Notification-Token`."""
    authentication: AuthenticationInfo | None = None


class SendMessageConfiguration(WireModel):
    """How a message is to be answered."""

    accepted_output_modes: Many[str] = Field(default_factory=list)
    """Media types that the client takes; any, where there are none."""
    task_push_notification_config: TaskPushNotificationConfig | None = None
    history_length: _Count | None = None
    """How many of the latest messages the answer holds at most; all that the agent gives, where it is None."""
    return_immediately: Flag = False
    """Answer as soon as there is a task, in place of when it is settled."""


class SendMessageRequest(WireModel):
    """Send a message, plainly or to stream the answer."""

    tenant: Optional_ = ""
    message: Message
    configuration: SendMessageConfiguration | None = None
    metadata: Meta | None = None


class GetTaskRequest(WireModel):
    """Ask for a task."""

    tenant: Optional_ = ""
    id: str = Field(min_length=1)
    history_length: _Count | None = None


class CancelTaskRequest(WireModel):
    """Ask to cancel a task."""

    tenant: Optional_ = ""
    id: str = Field(min_length=1)
    metadata: Meta | None = None


class SubscribeToTaskRequest(WireModel):
    """Follow a task that is at work."""

    tenant: Optional_ = ""
    id: str = Field(min_length=1)


class ListTasksRequest(WireModel):
    """Ask for tasks, those that changed last first."""

    tenant: Optional_ = ""
    context_id: Optional_ = ""
    status: TaskState | None = None
    page_size: Annotated[int, BeforeValidator(_whole_number), Field(ge=1, le=100)] | None = None
    page_token: Optional_ = ""
    history_length: _Count | None = None
    status_timestamp_after: str | None = None
    include_artifacts: Flag = False


class ListTasksResponse(WireModel):
    """One page of tasks."""

    tasks: list[Task]
    next_page_token: str
    """Where the next page begins; empty on the last one."""
    page_size: int
    total_size: int
    """How many tasks match, on all pages."""


class PushNotificationConfigRequest(WireModel):
    """Ask for one configuration of a task, or to delete it."""

    tenant: Optional_ = ""
    task_id: str = Field(min_length=1)
    id: Optional_ = ""
    """Which one; in version 0.3 empty stands for the first."""


class ListTaskPushNotificationConfigsRequest(WireModel):
    """Ask for the configurations of a task."""

    tenant: Optional_ = ""
    task_id: str = Field(min_length=1)
    page_size: _Count | None = None
    page_token: Optional_ = ""


class ListTaskPushNotificationConfigsResponse(WireModel):
    """The configurations of a task."""

    configs: Many[TaskPushNotificationConfig] = Field(default_factory=list)
    next_page_token: Optional_ = ""


class GetExtendedAgentCardRequest(WireModel):
    """Ask for the card that only known clients see."""

    tenant: Optional_ = ""
