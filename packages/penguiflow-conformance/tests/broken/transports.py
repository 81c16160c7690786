"""Transports that each break one rule: every test class here has a test that has to fail."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguiflow.remote import RemoteTransport
from penguiflow_conformance import ContractAgent, RemoteTransportContract
from penguiflow_conformance._adapters import Make
from penguiflow_conformance._remote.in_process import URL, LocalTransport

Part = dict[str, Any]


class Broken(RemoteTransportContract):
    """Makes the transport that the class names."""

    patience_s = 0.5
    transport_type: type[LocalTransport] = LocalTransport

    @pytest.fixture
    def make_transport(self) -> Make[RemoteTransport]:
        return lambda: self.transport_type(ContractAgent())

    @pytest.fixture
    def agent_url(self) -> str:
        return URL


class Rewriting(LocalTransport):
    """Streams what `rewritten` makes of the parts."""

    def rewritten(self, parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
        raise NotImplementedError

    def stream(self, agent_url: str, agent_card: Part, message: Part) -> AsyncIterator[Part]:
        return self.rewritten(super().stream(agent_url, agent_card, message))


class LosesOrder(Rewriting):
    async def rewritten(self, parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
        held: list[Part] = []
        async for part in parts:
            held.insert(0, part)
            if part["kind"] == "result" or len(held) == 2:
                for kept in sorted(held, key=lambda other: other["kind"] == "result"):
                    yield kept
                held = []


class TestLosesOrder(Broken):
    transport_type = LosesOrder


class RepeatsChunks(Rewriting):
    async def rewritten(self, parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
        async for part in parts:
            yield part
            if part["kind"] == "chunk":
                yield part


class TestRepeatsChunks(Broken):
    transport_type = RepeatsChunks


class GathersFirst(Rewriting):
    async def rewritten(self, parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
        for part in [part async for part in parts]:
            yield part


class TestGathersFirst(Broken):
    transport_type = GathersFirst


class NamesNoTask(Rewriting):
    async def rewritten(self, parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
        async for part in parts:
            yield part if part["kind"] == "result" else {key: part[key] for key in part if key != "task_id"}


class TestNamesNoTask(Broken):
    transport_type = NamesNoTask


class StripsText(Rewriting):
    async def rewritten(self, parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
        async for part in parts:
            yield {**part, "text": part["text"].strip()} if part["kind"] == "chunk" else part


class TestStripsText(Broken):
    transport_type = StripsText


class CallsFailuresCompleted(LocalTransport):
    async def send(self, agent_url: str, agent_card: Part, message: Part) -> Part:
        return {"result": None, **await super().send(agent_url, agent_card, message), "state": "completed"}


class TestCallsFailuresCompleted(Broken):
    transport_type = CallsFailuresCompleted


class MixesAnswersUp(LocalTransport):
    def __init__(self, agent: ContractAgent) -> None:
        super().__init__(agent)
        self.last: Part | None = None

    async def send(self, agent_url: str, agent_card: Part, message: Part) -> Part:
        answer, before = await super().send(agent_url, agent_card, message), self.last
        self.last = answer
        return before or answer


class TestMixesAnswersUp(Broken):
    transport_type = MixesAnswersUp


class HidesADeadAgent(LocalTransport):
    async def send(self, agent_url: str, agent_card: Part, message: Part) -> Part:
        if agent_url != URL:
            return {"result": None, "state": "completed", "context_id": None, "task_id": None}
        return await super().send(agent_url, agent_card, message)


class TestHidesADeadAgent(Broken):
    transport_type = HidesADeadAgent


class LeaksWhenCancelled(LocalTransport):
    async def send(self, agent_url: str, agent_card: Part, message: Part) -> Part:
        await self.connections.acquire()
        parts = [part async for part in self.start(agent_url, message).read()]
        self.connections.release()
        return parts[-1]


class TestLeaksWhenCancelled(Broken):
    transport_type = LeaksWhenCancelled


class LeaksWhenClosed(LocalTransport):
    async def stream(self, agent_url: str, agent_card: Part, message: Part) -> AsyncIterator[Part]:
        await self.connections.acquire()
        async for part in self.start(agent_url, message).read():
            yield part
        self.connections.release()


class TestLeaksWhenClosed(Broken):
    transport_type = LeaksWhenClosed


class CancelsNothing(LocalTransport):
    async def cancel(self, agent_url: str, task_id: str) -> None:
        return None


class TestCancelsNothing(Broken):
    transport_type = CancelsNothing


class CancelsEverything(LocalTransport):
    async def cancel(self, agent_url: str, task_id: str) -> None:
        for other in list(self._tasks):
            await super().cancel(agent_url, other)


class TestCancelsEverything(Broken):
    transport_type = CancelsEverything


class KnowsNoEndedTask(LocalTransport):
    async def cancel(self, agent_url: str, task_id: str) -> None:
        work = self._tasks[task_id].work
        if work is None or work.done():
            raise LookupError(task_id)
        await super().cancel(agent_url, task_id)


class TestKnowsNoEndedTask(Broken):
    transport_type = KnowsNoEndedTask


class ResumesFromTheBeginning(LocalTransport):
    def resubscribe(
        self, agent_url: str, task_id: str, after: str | None = None, agent_card: Part | None = None
    ) -> AsyncIterator[Part]:
        return super().resubscribe(agent_url, task_id)


class TestResumesFromTheBeginning(Broken):
    transport_type = ResumesFromTheBeginning
