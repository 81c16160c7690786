"""How much a client may ask of a server, and where a server may post to."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from penguiflow import FlowDefinitionError

__all__ = ["PushPolicy", "ServerLimits"]


@dataclass(frozen=True, slots=True)
class PushPolicy:
    """Which URLs push notifications may be posted to, and how.

    Without exceptions, only `https` URLs whose every address is public are taken. The address is looked up when a
    configuration is set and again when a notification is sent, and the connection goes to the address that was
    checked. Redirects are not followed.
    """

    allow_http: bool = False
    """Take plain `http` URLs too."""
    allow_loopback: bool = False
    """Take addresses of this machine, over http too: for tests."""
    allow_private: bool = False
    """Take private addresses: for receivers in the same network."""
    timeout_s: float = 10.0
    """How long one attempt at a notification may take."""
    attempts: int = 3
    """How often a notification is tried; between attempts the wait doubles, from half a second."""
    max_pending: int = 64
    """How many notifications of one configuration may wait; beyond it the oldest are left out."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The bounds of a server; each is finite unless set to None."""

    max_body_bytes: int = 10 * 1024 * 1024
    """The size of a request; a larger one is refused with 413, and none of it is kept."""
    max_json_depth: int = 64
    """How deep the JSON of a request may nest."""
    max_id_chars: int = 256
    """The length of every id that a client names."""
    max_parts: int = 256
    """How many parts a message may have."""
    max_history: int = 1000
    """How many messages a task may have."""
    max_task_bytes: int = 32 * 1024 * 1024
    """The size of a task's artifacts and history; a task that grows beyond it fails."""
    max_tasks_per_owner: int = 1000
    """How many tasks of one owner the memory store keeps; beyond it the settled one that changed longest ago goes."""
    max_tasks: int = 20_000
    """How many tasks of all owners the memory store keeps."""
    task_ttl_s: float = 3600.0
    """How long the memory store keeps a task that does not change, unless it is at work."""
    max_active_tasks: int = 1000
    """How many tasks may be at work at once; more are refused with 503."""
    max_active_tasks_per_owner: int = 256
    """How many of them may be one owner's; more are refused with 429."""
    max_queued_messages: int = 16
    """How many messages to a task at work wait for their turn."""
    max_turn_wait_s: float = 10.0
    """How long a message waits for a task at work in another process; then it is refused with 503."""
    max_streams: int = 1000
    """How many streams may be open."""
    max_streams_per_owner: int = 64
    """How many of them may be one owner's."""
    stream_window: int = 256
    """How many events a stream may be behind before the task waits for its reader."""
    replay_events: int = 1024
    """How many of the last events of a task can be replayed to a stream that is taken up again."""
    replay_bytes: int = 4 * 1024 * 1024
    """How large those events may be together."""
    replay_tasks: int = 256
    """For how many ended tasks they are kept."""
    slow_reader_s: float = 30.0
    """How long a reader may take for what waits for it before its stream is dropped."""
    max_stream_s: float | None = 24 * 3600.0
    """How long a stream may last; it can be taken up again."""
    heartbeat_s: float = 15.0
    """After how long without an event a stream is sent a comment, so that nobody takes it for lost."""
    max_wait_s: float = 300.0
    """How long a call waits for its task to settle; then it is answered with the task as it is."""
    body_timeout_s: float = 30.0
    """How long a client may take to send a request."""
    requests_per_s: float | None = None
    """How many requests an owner, or an address where owners are not known, may make in the long run; None: any."""
    burst: int = 50
    """How many more it may make at once."""
    max_push_configs: int = 8
    """How many push configurations a task may have."""
    task_timeout_s: float | None = None
    """The deadline of each trace; None: only what the client asks for."""
    push: PushPolicy = field(default_factory=PushPolicy)
    """Where push notifications may go."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value: Any = getattr(self, each.name)
            if isinstance(value, int | float) and not value > 0:
                raise FlowDefinitionError(f"{each.name} of ServerLimits is {value!r}: give a positive number")
