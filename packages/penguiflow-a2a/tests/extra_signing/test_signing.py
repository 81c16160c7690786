"""Cards that are signed, and cards that only look so."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from penguiflow_a2a._protocol.canonical import canonical_json
from penguiflow_a2a._protocol.card_wire import card_to_dual, card_to_v1
from penguiflow_a2a.signing import CardNotSigned, sign_card, verify_card
from penguiflow_a2a.types import AgentCapabilities, AgentCard, AgentCardSignature, AgentInterface, AgentSkill

KEY = ECKey.generate_key("P-256")
CARD = AgentCard(
    name="agent ünï",
    description="",
    supported_interfaces=[AgentInterface(url="https://a.example", protocol_binding="JSONRPC", protocol_version="1.0")],
    version="1",
    capabilities=AgentCapabilities(streaming=False),
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    skills=[AgentSkill(id="s", name="S")],
)


@pytest.mark.parametrize("write", [card_to_v1, card_to_dual], ids=["1.0", "dual"])
def test_a_signed_card_is_verified_as_it_is_served(write: Any) -> None:
    signed = sign_card(CARD, KEY, key_id="k")

    served = json.loads(json.dumps(write(signed)))

    assert verify_card(served, {"k": KEY}).name == CARD.name


def test_a_card_that_was_changed_is_not_trusted() -> None:
    signed = sign_card(CARD, KEY, key_id="k")

    with pytest.raises(CardNotSigned, match="not that of key 'k'"):
        verify_card(signed.model_copy(update={"description": "better"}), {"k": KEY})


def test_a_key_that_is_not_known_and_one_that_is_anothers_are_told_apart() -> None:
    signed = sign_card(CARD, KEY, key_id="k", key_set_url="https://a.example/keys")
    asked: list[Any] = []

    with pytest.raises(CardNotSigned, match="not known"):
        verify_card(signed, lambda *about: asked.append(about))
    with pytest.raises(CardNotSigned, match="over this card"):
        verify_card(signed, {"k": ECKey.generate_key("P-256")})
    assert asked == [("k", "https://a.example/keys")]


def test_one_valid_signature_is_enough_while_keys_are_changed() -> None:
    new = RSAKey.generate_key(2048)
    signed = sign_card(sign_card(CARD, KEY, key_id="old"), new, key_id="new", algorithm="RS256")

    assert verify_card(signed, {"new": new})
    assert verify_card(signed, {"old": KEY})


def test_a_card_without_a_signature_is_not_trusted() -> None:
    with pytest.raises(CardNotSigned, match="has none") as raised:
        verify_card(CARD, {"k": KEY})
    assert raised.value.code == "CARD_NOT_SIGNED"


@pytest.mark.parametrize("header", [{"alg": "none", "kid": "k"}, {"alg": "HS256", "kid": "k"}, [], None])
def test_an_algorithm_without_a_public_key_is_not_accepted(header: Any) -> None:
    protected = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    forged = AgentCardSignature(protected=protected if header is not None else "!", signature="")

    with pytest.raises(CardNotSigned):
        verify_card(CARD.model_copy(update={"signatures": [forged]}), {"k": OctKey.import_key("secret" * 8)})
    with pytest.raises(ValueError, match="HS256"):
        sign_card(CARD, KEY, key_id="k", algorithm="HS256")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "é\n"]}, '{"a":[true,null,"é\\n"],"b":1}'),
        ({"\U0001f600": 1, "\ufb33": 2}, '{"\U0001f600":1,"\ufb33":2}'),
        (1.0, "1"),
        (-0.0, "0"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (0.000001, "0.000001"),
        (1e-7, "1e-7"),
        (333333333.33333329, "333333333.3333333"),
        (4.5e-10, "4.5e-10"),
        (-123.456, "-123.456"),
        (2e-3, "0.002"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)
def test_json_has_one_form(value: Any, text: str) -> None:
    assert canonical_json(value).decode() == text


def test_a_number_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        canonical_json({"a": float("inf")})
