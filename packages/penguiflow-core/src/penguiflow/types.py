"""What travels through a flow: messages, chunks, and the working memory of controller loops."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = [
    "WM",
    "FinalAnswer",
    "Headers",
    "Json",
    "Message",
    "Payload",
    "PlanStep",
    "StreamChunk",
    "Thought",
    "merge_meta",
    "new_trace_id",
    "set_meta",
]

Payload: TypeAlias = Any
"""Whatever a node takes or gives: a pydantic model, a string, a `Message`, any object."""

Json: TypeAlias = Any
"""A value that `json` can write."""


class _TraceIds:
    """Process-unique ids: a random prefix and a counter, some ten times cheaper than a UUID for each trace."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.prefix = os.urandom(10).hex()
        self.counter = itertools.count(1)


_ids = _TraceIds()
if hasattr(os, "register_at_fork"):
    # A forked child shares prefix and counter with its parent and would repeat its ids.
    os.register_at_fork(after_in_child=_ids.renew)


def new_trace_id() -> str:
    """Return an id that no other call in any process returns: 80 random bits a process, and a counter."""
    return f"{_ids.prefix}-{next(_ids.counter)}"


class Headers(BaseModel):
    """Who a message is for and how urgent it is. Read by routers, never by validation."""

    model_config = ConfigDict(extra="forbid")

    tenant: str = "default"
    """Whose message it is."""
    topic: str | None = None
    """What it is about."""
    priority: int = 0
    """Higher goes first among a node's waiting traces. Fixed for a trace by the message that starts it."""


class Message(BaseModel):
    """A payload with what travels beside it: headers, trace, deadline, metadata.

    A node that was given a `Message` usually returns `message.model_copy(update={"payload": ...})`. What a node
    emits belongs to its trace: the runtime sets `trace_id`, keeps the tighter deadline, and fills in metadata that
    the node's own `meta` does not name.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    payload: Payload
    """The value itself."""
    headers: Headers = Field(default_factory=Headers)
    """Tenant, topic and priority."""
    trace_id: str = Field(default_factory=new_trace_id)
    """The trace this message belongs to."""
    ts: float = Field(default_factory=time.time)
    """When it was made, seconds since the epoch."""
    deadline_s: float | None = None
    """When its trace has to have ended: wall clock, seconds since the epoch. None: no deadline."""
    meta: dict[str, Any] = Field(default_factory=dict, repr=False)
    """Debug, cost and context data. Kept through fan-out, joins and subflows; never logged by default."""

    @field_validator("deadline_s")
    @classmethod
    def _is_a_time(cls, value: float | None) -> float | None:
        if value is not None and math.isnan(value):
            raise ValueError("a deadline is a time, in seconds since the epoch, not NaN")
        return value


class StreamChunk(BaseModel):
    """One piece of a stream: text, its place in the stream, and whether it is the last."""

    stream_id: str
    """Which stream of the trace."""
    seq: int = Field(ge=0)
    """Place in the stream, rising from 0."""
    text: str = ""
    """The piece itself."""
    done: bool = False
    """True on the last chunk of the stream."""
    meta: dict[str, Any] = Field(default_factory=dict, repr=False)
    """Anything else, for example the node's attempt."""


class PlanStep(BaseModel):
    """One thing a controller wants done."""

    kind: str
    """Which action, for example "retrieve", "web" or "sql"."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the action."""
    max_concurrency: int = Field(default=1, ge=1)
    """How many of its calls may run at once."""


class Thought(BaseModel):
    """A controller's plan: the next steps, why, and whether it is done."""

    steps: list[PlanStep] = Field(default_factory=list)
    """What to do next, in order."""
    rationale: str = ""
    """Why."""
    done: bool = False
    """True when nothing is left to do."""


class WM(BaseModel):
    """Working memory of a controller loop.

    Each time it goes along the edge that closes a loop, `hops` rises by one. Where `hops` has reached `budget_hops`,
    or `tokens_used` has reached `budget_tokens`, the loop ends in one `FinalAnswer` instead.
    """

    query: str
    """What is to be answered."""
    facts: list[Any] = Field(default_factory=list)
    """What was found so far."""
    hops: int = Field(default=0, ge=0)
    """How many times the loop was closed; counted by the runtime."""
    budget_hops: int | None = Field(default=8, ge=0)
    """How many times the loop may be closed. None: no limit."""
    tokens_used: int = Field(default=0, ge=0)
    """Tokens spent so far; counted by the nodes."""
    budget_tokens: int | None = Field(default=None, ge=0)
    """Tokens that may be spent. None: no limit."""
    confidence: float = Field(default=0.0, ge=0.0, le=1.0)
    """How sure the controller is, 0 to 1."""


class FinalAnswer(BaseModel):
    """The end of a branch: it goes to the trace's results, past any successor of the node that gave it."""

    text: str
    """The answer."""
    citations: list[str] = Field(default_factory=list)
    """Where it comes from."""


def set_meta(message: Message, key: str, value: Any) -> Message:
    """Return a copy of `message` whose metadata holds `key`; the original is unchanged."""
    return message.model_copy(update={"meta": {**message.meta, key: value}})


def merge_meta(
    metas: Iterable[Mapping[str, Any]], *, conflict: Literal["last", "first", "collect"] = "last"
) -> dict[str, Any]:
    """Merge metadata in the order given.

    Where a key stands in several: "last" keeps the last value (what joins do), "first" the first, and "collect" a
    list of the distinct values in order. Equal values are no conflict. Nothing is merged below the top level.
    """
    merged: dict[str, Any] = {}
    collected: dict[str, list[Any]] = {}
    for meta in metas:
        for key, value in meta.items():
            if conflict == "collect":
                values = collected.setdefault(key, [])
                if not any(_same(value, known) for known in values):
                    values.append(value)
            elif conflict == "last" or key not in merged:
                merged[key] = value
    for key, values in collected.items():
        merged[key] = values[0] if len(values) == 1 else values
    return merged


def _same(first: Any, second: Any) -> bool:
    if first is second:
        return True
    try:
        return bool(first == second)
    except Exception:  # arrays have no single truth; such values count as different
        return False
