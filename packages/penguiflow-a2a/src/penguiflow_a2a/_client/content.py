"""Payloads of a flow as the content of messages, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penguiflow_a2a._protocol.tasks import Message, Part, Role

__all__ = ["NAMESPACE", "make_message", "merged", "value_of", "value_of_part"]

NAMESPACE = "penguiflow"
"""Under which key of a message's metadata a flow says where the message comes from."""


def make_message(sent: dict[str, Any], *, share_meta: bool, repeated: bool = False) -> Message:
    """Return what a flow sends as a message of the protocol.

    A string becomes a part of text, anything else one of data. The metadata are `skill`, which names the skill that
    is called, and `penguiflow`: `traceId`, `deadline` (seconds since the epoch) and `traceparent` (the W3C trace
    context in the metadata of the flow's message) where there is one, and with `share_meta` all of that metadata as
    `meta`. `repeated` says that this very message may have arrived before; the id alone does not, since a retry after
    a failure has the same one.
    """
    payload = sent["payload"]
    part = Part(text=payload) if isinstance(payload, str) else Part(data=payload)
    origin: dict[str, Any] = {"traceId": sent["trace_id"]}
    if sent.get("deadline_s") is not None:
        origin["deadline"] = sent["deadline_s"]
    meta = sent.get("meta") or {}
    if isinstance(meta.get("traceparent"), str):
        origin["traceparent"] = meta["traceparent"]
    if share_meta and meta:
        origin["meta"] = meta
    if repeated:
        origin["repeated"] = True
    return Message(
        message_id=sent["message_id"],
        context_id=sent.get("context_id"),
        task_id=sent.get("task_id"),
        role=Role.USER,
        parts=[part],
        metadata={"skill": sent["skill"], NAMESPACE: origin},
    )


def value_of_part(part: Part) -> Any:
    """Return the content of a part: text as a string, data as it is, a file as an object with `raw` or `url`."""
    content = part.content
    if content == "text":
        return part.text
    if content == "data":
        return part.data
    file: dict[str, Any] = {content: getattr(part, content)}
    if part.filename:
        file["filename"] = part.filename
    if part.media_type:
        file["mediaType"] = part.media_type
    return file


def merged(contents: Iterable[Any]) -> list[Any]:
    """Return the contents of parts with texts that follow each other joined into one."""
    joined: list[Any] = []
    texts: list[str] = []
    for content in contents:
        if isinstance(content, str):
            texts.append(content)
            continue
        if texts:
            joined.append("".join(texts))
            texts = []
        joined.append(content)
    if texts:
        joined.append("".join(texts))
    return joined


def value_of(contents: Iterable[Any]) -> Any:
    """Return the contents of parts as one value: the only one as it is, several as a list; None for none."""
    joined = merged(contents)
    if not joined:
        return None
    return joined[0] if len(joined) == 1 else joined
