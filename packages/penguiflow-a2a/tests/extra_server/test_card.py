"""The card: made from the flow, cached, and another one for clients that are known."""

from __future__ import annotations

from typing import Any

import pytest

from penguiflow import Context, FlowDefinitionError, Node, create
from penguiflow_a2a.server import A2AServer, describe
from penguiflow_a2a.types import AgentCard

PATH = "/.well-known/agent-card.json"


async def answer(text: str, ctx: Context) -> str:
    """Answers questions about penguins.

    At length.
    """
    return text


def a_flow() -> Any:
    return create(Node(answer).to(), name="penguins", version="7")


def test_a_card_is_made_from_the_flow() -> None:
    card = describe(a_flow(), url="https://a.example/")

    assert (card.name, card.version, card.description) == ("penguins", "7", "Answers questions about penguins.")
    assert [each.url for each in card.supported_interfaces] == ["https://a.example"] * 4
    assert card.skills[0].id == "penguins"


async def test_a_card_has_the_headers_of_something_that_can_be_cached(serve: Any) -> None:
    agent = await serve()

    first = await agent.client.get(PATH)
    same = await agent.client.get(PATH, headers={"if-none-match": first.headers["etag"]})
    since = await agent.client.get(PATH, headers={"if-modified-since": first.headers["last-modified"]})
    other = await agent.client.get(PATH, headers={"if-none-match": '"other"', "if-modified-since": "nonsense"})
    head = await agent.client.head(PATH)

    assert "max-age" in first.headers["cache-control"]
    assert [each.status_code for each in (first, same, since, other)] == [200, 304, 304, 200]
    assert (head.status_code, head.content, same.content) == (200, b"", b"")


@pytest.mark.parametrize("card_format", ["dual", "1.0"])
async def test_a_card_has_the_fields_of_its_versions(serve: Any, card_format: str) -> None:
    agent = await serve(card_format=card_format)

    card = (await agent.client.get(PATH)).json()

    assert ("url" in card, "protocolVersion" in card) == ((True, True) if card_format == "dual" else (False, False))
    assert AgentCard.model_validate(card).supported_interfaces


async def test_an_extended_card_is_for_clients_that_are_known(serve: Any) -> None:
    flow = a_flow()
    card = describe(flow, url="https://a.example")
    card.capabilities.extended_agent_card = True

    def extended(principal: Any) -> AgentCard:
        return card.model_copy(update={"description": f"for {principal.id}"})

    agent = await serve(flow, card=card, extended_card=extended, auth=lambda headers: headers.get("x-user"))
    headers = {"x-user": "ann", "a2a-version": "1.0"}

    rpc = await agent.rpc("GetExtendedAgentCard", x_user="ann")
    old = await agent.rpc("agent/getAuthenticatedExtendedCard", x_user="ann")
    rest = await agent.client.get("/extendedAgentCard", headers=headers)
    stranger = await agent.client.get("/extendedAgentCard")

    assert rpc["result"]["description"] == rest.json()["description"] == "for ann"
    assert old["result"]["supportsAuthenticatedExtendedCard"] is True
    assert stranger.status_code == 401


async def test_an_extended_card_that_is_missing_is_told_from_one_that_is_not_supported(serve: Any) -> None:
    flow = a_flow()
    card = describe(flow, url="https://a.example")
    without = await serve()
    card.capabilities.extended_agent_card = True
    declared = await serve(flow, card=card)

    assert (await without.rpc("GetExtendedAgentCard"))["error"]["code"] == -32004
    assert (await without.rpc("agent/getAuthenticatedExtendedCard"))["error"]["code"] == -32007
    assert (await declared.rpc("GetExtendedAgentCard"))["error"]["code"] == -32007


def test_a_card_without_a_way_to_the_agent_is_refused() -> None:
    with pytest.raises(FlowDefinitionError, match="describe"):
        A2AServer(a_flow(), card=AgentCard(name="x"))


def test_an_extended_card_needs_someone_to_know_the_clients() -> None:
    card = describe(a_flow(), url="https://a.example")

    with pytest.raises(FlowDefinitionError, match="auth"):
        A2AServer(a_flow(), card=card, extended_card=card)


async def test_what_the_card_does_not_offer_is_refused(serve: Any) -> None:
    flow = a_flow()
    agent = await serve(flow, card=describe(flow, url="https://a.example", streaming=False))
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}
    push = {"taskId": "x", "url": "https://h.example"}

    stream = await agent.rpc("SendStreamingMessage", {"message": message})
    follow = await agent.rpc("SubscribeToTask", {"id": "x"})
    codes = [
        (await agent.rpc(f"{verb}TaskPushNotificationConfig{more}", push))["error"]["code"]
        for verb, more in (("Create", ""), ("Get", ""), ("List", "s"), ("Delete", ""))
    ]

    assert (stream["error"]["code"], follow["error"]["code"]) == (-32004, -32004)
    assert codes == [-32003] * 4
