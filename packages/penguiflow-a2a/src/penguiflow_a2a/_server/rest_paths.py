"""The paths of HTTP+JSON, and which operation of which version each of them is."""

from __future__ import annotations

from dataclasses import dataclass

from penguiflow_a2a._protocol.operations import Operation
from penguiflow_a2a._server.http import Headers

__all__ = ["PATHS", "PREFIXES", "Path", "last_event_id"]


@dataclass(frozen=True, slots=True)
class Path:
    """One path under each prefix, for some HTTP methods."""

    path: str
    methods: dict[str, Operation]


PREFIXES = ("", "/v1", "/{tenant}")
"""Before each path: nothing in 1.0, `/v1` in 0.3 (and in drafts of 1.0), and the tenant in 1.0."""

PATHS = (
    Path("/message:send", {"POST": Operation.SEND}),
    Path("/message:stream", {"POST": Operation.STREAM}),
    Path("/tasks", {"GET": Operation.LIST}),
    Path("/tasks/{id}:cancel", {"POST": Operation.CANCEL}),
    Path("/tasks/{id}:subscribe", {"GET": Operation.SUBSCRIBE, "POST": Operation.SUBSCRIBE}),
    Path(
        "/tasks/{id}/pushNotificationConfigs/{config_id}",
        {"GET": Operation.GET_PUSH, "DELETE": Operation.DELETE_PUSH},
    ),
    Path("/tasks/{id}/pushNotificationConfigs", {"GET": Operation.LIST_PUSH, "POST": Operation.SET_PUSH}),
    Path("/tasks/{id}", {"GET": Operation.GET}),
    Path("/extendedAgentCard", {"GET": Operation.EXTENDED_CARD}),
    Path("/card", {"GET": Operation.EXTENDED_CARD}),
)
"""Those that are matched first come first. `/card` is what 0.3 calls the extended card."""


def last_event_id(headers: Headers) -> int | None:
    """Return the event after which a client takes a stream up again; None where it names none that could be."""
    text = headers.get("last-event-id", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
