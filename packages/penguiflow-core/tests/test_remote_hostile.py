"""Remote nodes against agents that answer anything at all."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow import FlowErrorCode, create
from penguiflow.errors import RemoteFailed
from penguiflow.remote import RemoteNode

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
STATES = st.sampled_from(["completed", "working", "failed", "input_required", "TASK_STATE_REJECTED", "cancelled", "?"])
FIELDS = {
    "kind": st.sampled_from(["chunk", "status", "result", "?"]) | JSON,
    "state": STATES | JSON,
    "text": st.text(max_size=5) | JSON,
    "done": JSON,
    "meta": JSON,
    "stream_id": st.sampled_from(["a", "b"]) | JSON,
    "task_id": st.just("task") | JSON,
    "context_id": st.just("ctx") | JSON,
    "result": JSON,
}
PARTS = st.fixed_dictionaries({}, optional=FIELDS) | JSON


class AnyAgent:
    """Answers with the parts it was given, and counts what is cancelled."""

    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts
        self.cancelled = 0

    async def send(self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]) -> Any:
        return self.parts[0]

    async def stream(self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]) -> AsyncIterator[Any]:
        for part in self.parts:
            yield part

    async def cancel(self, agent_url: str, task_id: str) -> None:
        self.cancelled += 1


async def outcome(agent: AnyAgent, *, streaming: bool) -> RemoteFailed | None:
    node = RemoteNode("far", transport=agent, skill="s", agent_url="u", streaming=streaming)
    async with create(node, on_event=lambda _: None) as flow:
        trace = await flow.submit("x")
        try:
            await trace.results()
        except RemoteFailed as error:
            return error
    return None


@pytest.mark.timeout(300)
@given(st.lists(PARTS, min_size=1, max_size=5), st.booleans())
def test_any_answer_is_a_value_or_an_error_of_the_agreed_code(parts: list[Any], streaming: bool) -> None:
    agent = AnyAgent(parts)

    error = asyncio.run(asyncio.wait_for(outcome(agent, streaming=streaming), timeout=10))

    assert agent.cancelled <= 1
    assert error is None or error.code == FlowErrorCode.REMOTE_FAILED
