"""What the tests of a RemoteTransport share."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from penguiflow.remote import RemoteTransport
from penguiflow.types import Json
from penguiflow_conformance._adapters import Contract, Make, closing_all, made

__all__ = ["Agent", "RemoteCase", "close", "spelled", "text_of"]


class Agent:
    """The agent as a transport reaches it."""

    def __init__(self, transport: RemoteTransport, url: str, card: dict[str, Any], patience_s: float) -> None:
        self.transport = transport
        self.url = url
        self._card = card
        self._patience_s = patience_s

    def request(self, skill: str, payload: Json) -> dict[str, Any]:
        """Return a message with an id of its own."""
        return {
            "skill": skill,
            "payload": payload,
            "trace_id": f"trace-{uuid.uuid4()}",
            "message_id": f"message-{uuid.uuid4()}",
            "meta": {},
            "deadline_s": None,
        }

    async def send(
        self, skill: str, payload: Json = None, rule: str = "an agent that answers is heard"
    ) -> dict[str, Any]:
        """Send a message, and wait for the answer for as long as a test waits."""
        try:
            async with asyncio.timeout(self._patience_s):
                return await self.send_unbounded(skill, payload)
        except TimeoutError:
            raise AssertionError(f"{rule} (waited {self._patience_s} s)") from None

    async def send_unbounded(self, skill: str, payload: Json = None) -> dict[str, Any]:
        """Send a message, and wait for the answer."""
        return await self.transport.send(self.url, self._card, self.request(skill, payload))

    def stream(self, skill: str, payload: Json = None) -> AsyncIterator[dict[str, Any]]:
        """Send a message, and give the parts of the answer."""
        return aiter(self.transport.stream(self.url, self._card, self.request(skill, payload)))

    async def next(self, parts: AsyncIterator[dict[str, Any]], rule: str) -> dict[str, Any] | None:
        """Return the next part of a stream that has to come, None at its end."""
        try:
            async with asyncio.timeout(self._patience_s):
                return await anext(parts, None)
        except TimeoutError:
            raise AssertionError(f"{rule} (waited {self._patience_s} s)") from None

    async def rest(self, parts: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return all parts that are left of a stream."""
        found: list[dict[str, Any]] = []
        while (part := await self.next(parts, f"a stream ends with a result; {len(found)} parts came")) is not None:
            found.append(part)
        return found

    async def report(self, key: str) -> dict[str, int]:
        """Ask the agent how many waits were started and cancelled under a key."""
        answer = await self.send("report", key)
        counts: dict[str, int] = answer["result"]
        return counts


class RemoteCase(Contract):
    """Opens the transports of a test, and closes them after it."""

    dead_url: ClassVar[str] = "http://127.0.0.1:9"
    """Where no agent is: nothing listens at the port for discarding."""

    @pytest.fixture
    def make_transport(self) -> Make[RemoteTransport]:
        """Return what makes the transport."""
        self.not_given("make_transport", "lambda: MyTransport(...)")

    @pytest.fixture
    def agent_url(self) -> str:
        """Return where a `ContractAgent` is served."""
        self.not_given("agent_url", "...  # of a server of yours with a ContractAgent behind it")

    @pytest.fixture
    def agent_card(self) -> dict[str, Any]:
        """Return the card of that agent; empty where none is needed."""
        return {}

    @pytest_asyncio.fixture
    async def agent(
        self, make_transport: Make[RemoteTransport], agent_url: str, agent_card: dict[str, Any]
    ) -> AsyncIterator[Agent]:
        """Return the agent as the transport reaches it."""
        async with closing_all() as opened:
            transport = await made(make_transport)
            opened.append(transport)
            yield Agent(transport, agent_url, agent_card, self.patience_s)

    @pytest.fixture
    def key(self) -> str:
        """Return a key for waits that no other test uses."""
        return f"key-{uuid.uuid4()}"


async def close(parts: AsyncIterator[dict[str, Any]]) -> None:
    """Close a stream before its end, as a flow does that has lost interest."""
    aclose = getattr(parts, "aclose", None)
    if aclose is not None:
        await aclose()


def spelled(state: object) -> str:
    """Return a state of A2A in the spelling of its version 0.3."""
    return str(state).lower().removeprefix("task_state_").replace("_", "-").replace("cancelled", "canceled")


def text_of(parts: list[dict[str, Any]]) -> str:
    """Return the text of the chunks among the parts of a stream."""
    return "".join(part.get("text", "") for part in parts if part.get("kind") == "chunk")
