"""The card of a flow: made from it, and served so that it can be cached."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from email.utils import formatdate, parsedate_to_datetime
from typing import Literal, TypeAlias

from penguiflow import PenguiFlow
from penguiflow_a2a._protocol.card_wire import card_to_dual, card_to_v1
from penguiflow_a2a._protocol.cards import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from penguiflow_a2a._server.entries import summary
from penguiflow_a2a._server.http import Receive, Scope, Send, headers_of, respond
from penguiflow_a2a._server.spellings import dump

__all__ = ["CardEndpoint", "CardFormat", "describe"]

CardFormat: TypeAlias = Literal["dual", "1.0"]
"""Whether the card has the fields of both versions, or those of 1.0 alone, as a strict schema wants it."""

BINDINGS = ("JSONRPC", "HTTP+JSON")


def describe(
    flow: PenguiFlow,
    *,
    url: str,
    name: str | None = None,
    description: str | None = None,
    version: str | None = None,
    skills: Sequence[AgentSkill] | None = None,
    streaming: bool = True,
    push_notifications: bool = False,
    input_modes: Sequence[str] = ("text/plain", "application/json"),
    output_modes: Sequence[str] = ("text/plain", "application/json"),
    versions: Sequence[Literal["1.0", "0.3"]] = ("1.0", "0.3"),
) -> AgentCard:
    """Return the card of a flow that is served at `url`, where clients reach it from outside.

    Without `skills` it has one, named after the flow and described by its first entry node. Whatever else a card
    holds, such as security schemes, is set on the card that is returned: `card.model_copy(update={...})`.
    """
    told = description if description is not None else summary(flow) or f"The flow {flow.name}."
    skill = AgentSkill(id=flow.name, name=name or flow.name, description=told, tags=["flow"])
    interfaces = [
        AgentInterface(url=url.rstrip("/") or "/", protocol_binding=binding, protocol_version=each)
        for each in versions
        for binding in BINDINGS
    ]
    return AgentCard(
        name=name or flow.name,
        description=told,
        supported_interfaces=interfaces,
        version=version or flow.version,
        capabilities=AgentCapabilities(streaming=streaming, push_notifications=push_notifications),
        default_input_modes=list(input_modes),
        default_output_modes=list(output_modes),
        skills=list(skills) if skills is not None else [skill],
    )


class CardEndpoint:
    """The ASGI application behind `/.well-known/agent-card.json`."""

    def __init__(self, card: AgentCard, card_format: CardFormat, *, max_age_s: int = 3600) -> None:
        self._body = dump(card_to_v1(card) if card_format == "1.0" else card_to_dual(card))
        self._etag = f'"{hashlib.sha256(self._body).hexdigest()[:32]}"'
        self._modified_at = int(time.time())
        self._headers = [
            (b"etag", self._etag.encode("ascii")),
            (b"cache-control", b"public, max-age=%d" % max_age_s),
            (b"last-modified", formatdate(self._modified_at, usegmt=True).encode("ascii")),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the card, or say that the client's is the same."""
        headers = headers_of(scope)
        if self._is_current(headers.get("if-none-match"), headers.get("if-modified-since")):
            await send({"type": "http.response.start", "status": 304, "headers": self._headers})
            await send({"type": "http.response.body", "body": b""})
            return
        body = b"" if scope["method"] == "HEAD" else self._body
        await respond(send, 200, body, b"application/json", self._headers)

    def _is_current(self, etags: str | None, since: str | None) -> bool:
        if etags is not None:
            known = {each.strip().removeprefix("W/") for each in etags.split(",")}
            return self._etag in known or "*" in known
        if since is None:
            return False
        try:
            return parsedate_to_datetime(since).timestamp() >= self._modified_at
        except ValueError:
            return False
