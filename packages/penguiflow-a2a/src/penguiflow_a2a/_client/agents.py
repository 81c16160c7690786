"""An agent as a transport knows it: its card, and the interface that was chosen from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from penguiflow_a2a._client.bindings import Binding, HttpJson, JsonRpc
from penguiflow_a2a._client.exchange import Exchange, Request
from penguiflow_a2a._client.failures import AgentIncompatible, AgentMisbehaved
from penguiflow_a2a._client.origins import Origins
from penguiflow_a2a._client.refusals import refusal_of_http
from penguiflow_a2a._client.retries import again
from penguiflow_a2a._protocol.card_wire import card_from_wire
from penguiflow_a2a._protocol.cards import AgentCard, AgentInterface
from penguiflow_a2a._protocol.operations import Version

__all__ = ["CARD_PATH", "Agent", "Choice", "fetch_card", "make_agent"]

CARD_PATH = "/.well-known/agent-card.json"
_BINDINGS: dict[str, type[Binding]] = {binding.NAME: binding for binding in (JsonRpc, HttpJson)}


@dataclass(frozen=True, slots=True)
class Choice:
    """What a transport chooses from the interfaces of a card."""

    versions: Sequence[Version]
    """Versions that may be spoken, the preferred one first."""
    bindings: Sequence[str] | None
    """Bindings that may be used, the preferred one first; None for the order of the card."""
    extensions: tuple[str, ...]
    """Extensions that the caller understands."""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent, and how it is reached."""

    exchange: Exchange
    binding: Binding
    streams: bool
    """Whether it can stream what it answers."""

    @property
    def url(self) -> str:
        """What users call it by."""
        return self.exchange.agent_url


async def fetch_card(exchange: Exchange) -> Any:
    """Read the card of an agent from its well-known address, or from the address itself where that ends in `.json`.

    Raises:
        A2AError: it is not there, or is no JSON.
    """
    url = exchange.agent_url
    if not urlsplit(url).path.endswith(".json"):
        url = url.rstrip("/") + CARD_PATH
    request = Request("GET", url, "agent card", headers={"Accept": "application/json"})

    async def attempt() -> Any:
        reply = await exchange.ask(request, most_bytes=exchange.limits.card_bytes, limit="card_bytes")
        if reply.status != 200:
            raise refusal_of_http(exchange.agent_url, f"{request.what} at {url}", reply)
        return reply.json()

    return await again(attempt, exchange.timeouts, idempotent=True)


def make_agent(exchange: Exchange, wire: Any, choice: Choice, origins: Origins) -> Agent:
    """Choose how to reach an agent from its card.

    Raises:
        AgentMisbehaved: the card is not as the protocol wants it.
        AgentIncompatible: it names no interface that may be used, or asks for an extension that nobody understands.
        AgentElsewhere: it leads to a host that the transport may not call.
    """
    card = _read(exchange.agent_url, wire)
    _check_extensions(exchange.agent_url, card, choice)
    interface, version = _choose(exchange.agent_url, card, choice)
    try:
        url = urljoin(exchange.agent_url, interface.url)
    except ValueError:
        url = interface.url
    origins.check(url, exchange.agent_url, "the address in its card")
    binding = _BINDINGS[interface.protocol_binding.upper()](
        exchange.agent_url, url, version, tenant=interface.tenant, extensions=choice.extensions
    )
    return Agent(exchange, binding, streams=card.capabilities.streaming is True)


def _read(agent_url: str, wire: Any) -> AgentCard:
    try:
        return card_from_wire(wire)
    except Exception as error:
        raise AgentMisbehaved(agent_url, f"the agent card is not as agreed: {str(error)[:300]}") from error


def _check_extensions(agent_url: str, card: AgentCard, choice: Choice) -> None:
    wanted = [each.uri for each in card.capabilities.extensions if each.required and each.uri not in choice.extensions]
    if wanted:
        shown = ", ".join(wanted)[:300]
        raise AgentIncompatible(
            agent_url, f"the agent requires extensions; name those you support: extensions=({shown})"
        )


def _choose(agent_url: str, card: AgentCard, choice: Choice) -> tuple[AgentInterface, Version]:
    best: tuple[int, int, int] | None = None
    chosen: tuple[AgentInterface, Version] | None = None
    for index, interface in enumerate(card.supported_interfaces):
        version, binding = _version(interface.protocol_version), interface.protocol_binding.upper()
        if version is None or version not in choice.versions or binding not in _BINDINGS:
            continue
        if choice.bindings is not None and binding not in choice.bindings:
            continue
        rank = 0 if choice.bindings is None else list(choice.bindings).index(binding)
        score = (list(choice.versions).index(version), rank, index)
        if best is None or score < best:
            best, chosen = score, (interface, version)
    if chosen is None:
        offered = ", ".join(f"{each.protocol_binding} {each.protocol_version}" for each in card.supported_interfaces)
        spoken = ", ".join(choice.bindings or _BINDINGS), " and ".join(choice.versions)
        raise AgentIncompatible(
            agent_url,
            f"its card offers {offered[:200] or 'no interface'}; this transport speaks {spoken[0]} of {spoken[1]}",
        )
    return chosen


def _version(said: str) -> Version | None:
    """Return which version is meant; patches, and what 1.x adds, make no difference to a client."""
    major, _, rest = said.strip().partition(".")
    if major == "1":
        return "1.0"
    return "0.3" if (major, rest.partition(".")[0]) == ("0", "3") else None
