"""Signs the cards of agents, and checks the signatures of others' cards.

It needs the extra `signing`: `pip install "penguiflow-a2a[signing]"`. A signature is a JSON Web Signature over the
card as version 1.0 writes it, without its signatures, in the canonical form of RFC 8785.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

try:
    from joserfc import jws
    from joserfc.errors import JoseError
    from joserfc.jwk import Key
except ImportError as _error:
    raise ImportError(
        'penguiflow_a2a.signing needs joserfc: pip install "penguiflow-a2a[signing]"', name="joserfc"
    ) from _error

from penguiflow_a2a._protocol.canonical import canonical_json
from penguiflow_a2a._protocol.card_wire import card_from_wire, card_to_v1
from penguiflow_a2a.types import AgentCard, AgentCardSignature

__all__ = ["CardNotSigned", "KeySource", "sign_card", "verify_card"]

KeySource: TypeAlias = Mapping[str, Key] | Callable[[str, str | None], Key | None]
"""Public keys by their id, or a function of a key's id and the URL of its key set; None for a key that is not known.

The URL stands in the card, so whoever wrote the card chose it: fetch keys only from places you trust.
"""

_ALGORITHMS = ("ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


class CardNotSigned(ValueError):
    """No signature of a card is valid: there is none, its key is not known, or the card was changed."""

    code = "CARD_NOT_SIGNED"

    def __init__(self, agent: str, reasons: Sequence[str]) -> None:
        self.agent = agent
        self.reasons = list(reasons)
        told = "; ".join(self.reasons) or "it has none; ask its provider for a signed one"
        super().__init__(f"the card of {agent!r} has no valid signature: {told}")


def sign_card(
    card: AgentCard, key: Key, *, key_id: str, algorithm: str = "ES256", key_set_url: str | None = None
) -> AgentCard:
    """Return the card with a signature added; those that it has stay, so keys can be changed one after the other.

    Sign it last: whatever is changed afterwards makes the signature wrong.

    Raises:
        ValueError: the algorithm is not one with a public key.
    """
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"{algorithm!r} is not one of {', '.join(_ALGORITHMS)}")
    header = {"alg": algorithm, "typ": "JOSE", "kid": key_id}
    if key_set_url is not None:
        header["jku"] = key_set_url
    token = jws.serialize_compact(header, _payload(card), key, algorithms=[algorithm])
    protected, _, signature = token.split(".")
    signed = AgentCardSignature(protected=protected, signature=signature)
    return card.model_copy(update={"signatures": [*card.signatures, signed]})


def verify_card(
    card: AgentCard | Mapping[str, Any], keys: KeySource, *, algorithms: Sequence[str] = _ALGORITHMS
) -> AgentCard:
    """Return the card if one of its signatures is valid; of JSON, the part that the signature covers.

    Raises:
        CardNotSigned: none is.
    """
    read = card if isinstance(card, AgentCard) else card_from_wire(dict(card))
    reasons = []
    for signature in read.signatures:
        reason = _why_invalid(read, signature, keys, algorithms)
        if reason is None:
            return read
        reasons.append(reason)
    raise CardNotSigned(read.name, reasons)


def _why_invalid(
    card: AgentCard, signature: AgentCardSignature, keys: KeySource, algorithms: Sequence[str]
) -> str | None:
    header = _header(signature.protected)
    if header is None:
        return "its protected header cannot be read"
    key_id, url = str(header.get("kid", "")), header.get("jku")
    if header.get("alg") not in algorithms:
        return f"algorithm {header.get('alg')!r} is not accepted"
    key = keys(key_id, url if isinstance(url, str) else None) if callable(keys) else keys.get(key_id)
    if key is None:
        return f"key {key_id!r} is not known"
    for payload in (_payload(card), _payload_without_empty(card)):
        encoded = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
        try:
            jws.deserialize_compact(f"{signature.protected}.{encoded}.{signature.signature}", key, list(algorithms))
        except (JoseError, ValueError, TypeError):
            continue
        return None
    return f"it is not that of key {key_id!r} over this card"


def _header(protected: str) -> dict[str, Any] | None:
    try:
        header = json.loads(base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4)))
    except (ValueError, binascii.Error):
        return None
    return header if isinstance(header, dict) else None


def _payload(card: AgentCard) -> bytes:
    written = card_to_v1(card)
    written.pop("signatures", None)
    return canonical_json(written)


def _payload_without_empty(card: AgentCard) -> bytes:
    """Return what a2a-sdk signs: like the specification's form, but required fields that are empty are left out."""
    written = card_to_v1(card)
    written.pop("signatures", None)
    return canonical_json(_without_empty(written) or {})


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: cleaned for key, each in value.items() if (cleaned := _without_empty(each)) is not None}
        return kept or None
    if isinstance(value, list):
        return [cleaned for each in value if (cleaned := _without_empty(each)) is not None] or None
    return None if value == "" else value
