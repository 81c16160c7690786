"""google-adk's RemoteA2aAgent calls our server as one of its agents."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from .serving import conformance_agent

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from google.adk.agents.remote_a2a_agent import AGENT_CARD_WELL_KNOWN_PATH, RemoteA2aAgent
    from google.adk.runners import InMemoryRunner
    from google.genai import types

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with conformance_agent() as served:
        yield served


async def test_an_agent_of_adk_hears_from_ours(url: str) -> None:
    agent = RemoteA2aAgent(name="ours", agent_card=f"{url}{AGENT_CARD_WELL_KNOWN_PATH}")
    runner = InMemoryRunner(agent=agent, app_name="app")
    session = await runner.session_service.create_session(app_name="app", user_id="u")
    message = types.Content(role="user", parts=[types.Part(text="hello")])

    events = [event async for event in runner.run_async(user_id="u", session_id=session.id, new_message=message)]

    # It takes a question for a call of a function that waits for the user.
    assert "What else can I do for you?" in str([event.content for event in events])
    assert not [event.error_message for event in events if event.error_message]
