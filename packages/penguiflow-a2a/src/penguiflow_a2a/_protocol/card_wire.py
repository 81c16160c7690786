"""Cards on the wire: 1.0, 0.3, and one document that clients of both can read."""

from __future__ import annotations

from typing import Any

from penguiflow_a2a._protocol.cards import AgentCard
from penguiflow_a2a._protocol.v03 import Wire, require_object

__all__ = ["card_from_wire", "card_to_dual", "card_to_v03", "card_to_v1"]

_SCHEMES = {
    "apiKeySecurityScheme": "apiKey",
    "httpAuthSecurityScheme": "http",
    "oauth2SecurityScheme": "oauth2",
    "openIdConnectSecurityScheme": "openIdConnect",
    "mtlsSecurityScheme": "mutualTLS",
}
_SCHEMES_BACK = {theirs: ours for ours, theirs in _SCHEMES.items()}
_V03_ONLY = (
    "url",
    "preferredTransport",
    "additionalInterfaces",
    "protocolVersion",
    "supportsAuthenticatedExtendedCard",
    "security",
)


def card_to_v1(card: AgentCard) -> Wire:
    """Return a card as 1.0 writes it, and nothing else: a strict schema of 1.0 takes it."""
    written = card.to_wire()
    # The schema requires these, though ProtoJSON leaves out what is empty.
    for field in ("supportedInterfaces", "defaultInputModes", "defaultOutputModes", "skills"):
        written.setdefault(field, [])
    for field in ("description", "version"):
        written.setdefault(field, "")
    written.setdefault("capabilities", {})
    for skill in written["skills"]:
        skill.setdefault("tags", [])
        skill.setdefault("description", "")
    return written


def card_to_v03(card: AgentCard) -> Wire:
    """Return a card as 0.3 writes it; its interfaces are those that speak 0.3, or all of them where none says so."""
    written = card_to_v1(card)
    interfaces = written.pop("supportedInterfaces")
    spoken = [each for each in interfaces if each["protocolVersion"].startswith("0.3")] or interfaces
    if spoken:
        written["url"] = spoken[0]["url"]
        written["preferredTransport"] = spoken[0]["protocolBinding"]
        written["additionalInterfaces"] = [
            {"url": each["url"], "transport": each["protocolBinding"]} for each in spoken
        ]
    written["protocolVersion"] = "0.3.0"
    if written["capabilities"].pop("extendedAgentCard", False):
        written["supportsAuthenticatedExtendedCard"] = True
    if "securitySchemes" in written:
        written["securitySchemes"] = {name: _scheme_to(one) for name, one in written["securitySchemes"].items()}
    _security_to(written)
    for skill in written["skills"]:
        _security_to(skill)
    return written


def card_to_dual(card: AgentCard) -> Wire:
    """Return a card that clients of both versions can read: the fields of 1.0, and those of 0.3 beside them."""
    written, older = card_to_v1(card), card_to_v03(card)
    for field in _V03_ONLY:
        if field in older:
            written[field] = older[field]
    for name, scheme in older.get("securitySchemes", {}).items():
        written["securitySchemes"][name].update(scheme)
    for skill, other in zip(written["skills"], older["skills"], strict=True):
        if "security" in other:
            skill["security"] = other["security"]
    return written


def card_from_wire(card: Any) -> AgentCard:
    """Read a card of 1.0, of 0.3, or of both.

    Raises:
        ProtocolError: it is no object.
        pydantic.ValidationError: a field is not as the protocol wants it.
    """
    card = require_object(card, "card")
    if card.get("supportedInterfaces"):
        return AgentCard.model_validate(card)
    read = dict(card)
    read["supportedInterfaces"] = _interfaces_from(card)
    capabilities = dict(card.get("capabilities") or {})
    if card.get("supportsAuthenticatedExtendedCard"):
        capabilities["extendedAgentCard"] = True
    read["capabilities"] = capabilities
    schemes = card.get("securitySchemes") or {}
    read["securitySchemes"] = {name: _scheme_from(one) for name, one in schemes.items()}
    read["securityRequirements"] = _security_from(card)
    read["skills"] = [{**skill, "securityRequirements": _security_from(skill)} for skill in card.get("skills") or ()]
    return AgentCard.model_validate(read)


def _interfaces_from(card: Wire) -> list[Wire]:
    version = ".".join(str(card.get("protocolVersion") or "0.3.0").split(".")[:2])
    found = [(card.get("url"), card.get("preferredTransport") or "JSONRPC")]
    found += [(each.get("url"), each.get("transport")) for each in card.get("additionalInterfaces") or ()]
    unique = dict.fromkeys((url, transport) for url, transport in found if url)
    return [{"url": url, "protocolBinding": binding, "protocolVersion": version} for url, binding in unique]


def _scheme_to(scheme: Wire) -> Wire:
    ((member, content),) = scheme.items()
    written = {"type": _SCHEMES[member], **content}
    if member == "apiKeySecurityScheme":
        written["in"] = written.pop("location")
    return written


def _scheme_from(scheme: Wire) -> Wire:
    content = {key: value for key, value in scheme.items() if key != "type"}
    member = _SCHEMES_BACK.get(scheme.get("type", ""))
    if member is None:
        return scheme
    if member == "apiKeySecurityScheme" and "in" in content:
        content["location"] = content.pop("in")
    return {member: content}


def _security_to(written: Wire) -> None:
    requirements = written.pop("securityRequirements", None)
    if requirements is not None:
        written["security"] = [
            {name: scopes.get("list", []) for name, scopes in each.get("schemes", {}).items()} for each in requirements
        ]


def _security_from(read: Wire) -> list[Wire]:
    return [
        {"schemes": {name: {"list": scopes} for name, scopes in each.items()}} for each in read.get("security") or ()
    ]
