"""The operations of the protocol, and what each version calls them."""

from __future__ import annotations

from enum import Enum
from typing import Literal, TypeAlias

__all__ = ["METHODS", "METHOD_NAMES", "VERSIONS", "Operation", "Version"]

Version: TypeAlias = Literal["0.3", "1.0"]
VERSIONS: tuple[Version, ...] = ("1.0", "0.3")
"""The versions that are spoken, the preferred one first."""


class Operation(Enum):
    """What a client can ask of an agent."""

    SEND = "send"
    STREAM = "stream"
    GET = "get"
    LIST = "list"
    CANCEL = "cancel"
    SUBSCRIBE = "subscribe"
    SET_PUSH = "set_push"
    GET_PUSH = "get_push"
    LIST_PUSH = "list_push"
    DELETE_PUSH = "delete_push"
    EXTENDED_CARD = "extended_card"

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream of events."""
        return self is Operation.STREAM or self is Operation.SUBSCRIBE


METHOD_NAMES: dict[Version, dict[Operation, str]] = {
    "1.0": {
        Operation.SEND: "SendMessage",
        Operation.STREAM: "SendStreamingMessage",
        Operation.GET: "GetTask",
        Operation.LIST: "ListTasks",
        Operation.CANCEL: "CancelTask",
        Operation.SUBSCRIBE: "SubscribeToTask",
        Operation.SET_PUSH: "CreateTaskPushNotificationConfig",
        Operation.GET_PUSH: "GetTaskPushNotificationConfig",
        Operation.LIST_PUSH: "ListTaskPushNotificationConfigs",
        Operation.DELETE_PUSH: "DeleteTaskPushNotificationConfig",
        Operation.EXTENDED_CARD: "GetExtendedAgentCard",
    },
    "0.3": {
        Operation.SEND: "message/send",
        Operation.STREAM: "message/stream",
        Operation.GET: "tasks/get",
        Operation.CANCEL: "tasks/cancel",
        Operation.SUBSCRIBE: "tasks/resubscribe",
        Operation.SET_PUSH: "tasks/pushNotificationConfig/set",
        Operation.GET_PUSH: "tasks/pushNotificationConfig/get",
        Operation.LIST_PUSH: "tasks/pushNotificationConfig/list",
        Operation.DELETE_PUSH: "tasks/pushNotificationConfig/delete",
        Operation.EXTENDED_CARD: "agent/getAuthenticatedExtendedCard",
    },
}
"""The JSON-RPC method of each operation in each version; 0.3 cannot list tasks."""

METHODS: dict[str, tuple[Operation, Version]] = {
    name: (operation, version) for version, names in METHOD_NAMES.items() for operation, name in names.items()
}
"""Which operation a JSON-RPC method is, and of which version: the name tells both."""
