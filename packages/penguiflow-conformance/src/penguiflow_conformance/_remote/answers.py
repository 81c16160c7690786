"""What a transport brings back: answers, streams, failures."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penguiflow.remote import RemoteTransport
from penguiflow.types import Json
from penguiflow_conformance._remote.case import Agent, RemoteCase, close, spelled, text_of
from penguiflow_conformance._values import JSON_VALUES

__all__ = ["AnswerRules", "StreamRules"]

# JSON has one kind of number, and its readers may keep 53 bits of it.
PAYLOADS = {name: value for name, value in JSON_VALUES.items() if name != "beyond 64 bits"}
UNSUCCESSFUL = {"fail": "failed", "reject": "rejected", "ask": "input-required"}

TEXTS = [
    "two\n\nlines",
    "data: {}\n\n",
    "\r\n",
    "event: end",
    "Füße 企鹅 🐧",
    " blanks ",
    '{"json": true}',
    "\u2028",
    ".",
]
"""Pieces of text that protocols of lines tend to take for their own."""


class AnswerRules(RemoteCase):
    """`send`."""

    async def test_it_has_the_methods_of_a_transport(self, agent: Agent) -> None:
        assert isinstance(agent.transport, RemoteTransport), "a transport has send, stream and cancel"

    async def test_an_answer_has_result_ids_and_state(self, agent: Agent) -> None:
        answer = await agent.send("echo", {"question": "why?"})

        assert answer.get("result") == {"question": "why?"}, f"an answer has the agent's result: {answer}"
        assert spelled(answer.get("state")) == "completed", f"an answer that has a result is completed: {answer}"
        for name in ("context_id", "task_id"):
            assert answer.get(name) is None or isinstance(answer[name], str), f"{name} is a string or None: {answer}"

    @pytest.mark.parametrize("value", PAYLOADS.values(), ids=PAYLOADS)
    async def test_payloads_and_results_travel_as_json(self, agent: Agent, value: Json) -> None:
        answer = await agent.send("echo", value)
        assert answer.get("result") == value, f"a payload and a result arrive as they were sent: {str(answer)[:300]}"

    @pytest.mark.parametrize("skill", UNSUCCESSFUL)
    async def test_an_unsuccessful_task_says_how_it_ended(self, agent: Agent, skill: str) -> None:
        answer = await agent.send(skill)
        assert spelled(answer.get("state")) == UNSUCCESSFUL[skill], (
            f"the answer of a task without a result names its state, {UNSUCCESSFUL[skill]}: {answer}"
        )

    async def test_concurrent_calls_get_their_own_answers(self, agent: Agent) -> None:
        answers = await asyncio.gather(*(agent.send("echo", number) for number in range(32)))
        found = [answer.get("result") for answer in answers]
        assert found == list(range(32)), f"each call gets the answer to its own message: {found}"

    async def test_an_agent_that_is_not_there_is_an_ordinary_error(self, agent: Agent) -> None:
        agent.url = self.dead_url
        with pytest.raises(Exception) as caught:  # noqa: PT011
            await agent.send("echo", 1)
        assert not isinstance(caught.value, AssertionError), "a transport that reaches nobody raises, in a while"

    async def test_a_failure_leaves_the_transport_usable(self, agent: Agent) -> None:
        url, agent.url = agent.url, self.dead_url
        with pytest.raises(Exception):  # noqa: B017, PT011
            await agent.send("echo", 1)
        agent.url = url
        assert (await agent.send("echo", 2)).get("result") == 2, "a transport works on after it reached nobody"


class StreamRules(RemoteCase):
    """`stream`."""

    async def test_chunks_come_in_order_and_the_result_last(self, agent: Agent) -> None:
        texts = [f"{number}," for number in range(300)]
        parts = await agent.rest(agent.stream("tell", texts))

        assert text_of(parts) == "".join(texts), "the parts of a stream come in order, each once"
        results = [index for index, part in enumerate(parts) if part.get("kind") == "result"]
        assert results == [len(parts) - 1], f"a stream has one result, as its last part: {results} of {len(parts)}"
        assert parts[-1].get("result") == 300, f"the last part has the agent's result: {parts[-1]}"
        assert spelled(parts[-1].get("state")) == "completed"

    async def test_every_part_is_of_a_known_kind(self, agent: Agent) -> None:
        for part in await agent.rest(agent.stream("tell", ["a", "b"])):
            assert part.get("kind") in ("chunk", "status", "result"), f"a part is chunk, status or result: {part}"
            if part["kind"] == "chunk":
                assert isinstance(part.get("text", ""), str), f"a chunk has text: {part}"
            if part["kind"] == "status":
                assert isinstance(part.get("state"), str), f"a status has a state: {part}"

    async def test_text_arrives_as_it_was_emitted(self, agent: Agent) -> None:
        parts = await agent.rest(agent.stream("tell", TEXTS))
        assert text_of(parts) == "".join(TEXTS), "text of a stream arrives sign by sign"

    async def test_parts_come_while_the_agent_is_at_work(self, agent: Agent, key: str) -> None:
        parts = agent.stream("wait", key)
        found: list[dict[str, Any]] = []
        while "waiting" not in text_of(found):
            part = await agent.next(parts, "a part is given as soon as the agent has sent it, not when it has ended")
            assert part is not None, "a stream goes on until there is a result"
            found.append(part)

        await agent.send("release", key)

        found += await agent.rest(parts)
        assert found[-1].get("result") == f"released {key}"
        assert text_of(found) == "waiting", "the parts of a stream come each once"

    async def test_a_stream_names_its_task_while_it_runs(self, agent: Agent, key: str) -> None:
        parts = agent.stream("wait", key)
        named: set[str] = set()
        while not named:
            part = await agent.next(parts, "a stream names its task while it runs, so that it can be cancelled")
            assert part is not None
            assert part.get("kind") != "result", "a stream names its task before the result"
            named |= {part["task_id"]} if part.get("task_id") else set()
        await agent.send("release", key)

        rest = await agent.rest(parts)
        named |= {part["task_id"] for part in rest if part.get("task_id")}
        assert len(named) == 1, f"a stream is of one task: {named}"

    @pytest.mark.parametrize("skill", UNSUCCESSFUL)
    async def test_an_unsuccessful_stream_says_how_it_ended(self, agent: Agent, skill: str) -> None:
        parts = await agent.rest(agent.stream(skill))
        states = [spelled(part.get("state")) for part in parts if part.get("kind") in ("status", "result")]
        assert UNSUCCESSFUL[skill] in states, f"the stream of a task without a result names its state: {parts}"
        assert "completed" not in states, f"a task that is {UNSUCCESSFUL[skill]} is not completed: {parts}"

    async def test_concurrent_streams_get_their_own_parts(self, agent: Agent) -> None:
        async def tell(number: int) -> str:
            return text_of(await agent.rest(agent.stream("tell", [f"{number}:{index};" for index in range(20)])))

        told = await asyncio.gather(*(tell(number) for number in range(8)))
        for number, text in enumerate(told):
            expected = "".join(f"{number}:{index};" for index in range(20))
            assert text == expected, "each stream has the parts of its own answer"

    async def test_a_slow_reader_gets_every_part(self, agent: Agent) -> None:
        texts = [f"{number}," * 200 for number in range(200)]
        parts = agent.stream("tell", texts)
        found = [await agent.next(parts, "a stream begins")]
        for _ in range(5):
            # Others run meanwhile, and the agent goes on sending.
            await agent.send("echo", 1)

        rest = await agent.rest(parts)
        assert text_of([part for part in [*found, *rest] if part]) == "".join(texts), "a slow reader gets every part"

    async def test_an_agent_that_is_not_there_ends_the_stream_in_an_error(self, agent: Agent) -> None:
        agent.url = self.dead_url
        with pytest.raises(Exception) as caught:  # noqa: PT011
            await agent.rest(agent.stream("echo", 1))
        assert not isinstance(caught.value, AssertionError), "a transport that reaches nobody raises, in a while"

    async def test_streams_may_be_closed_before_their_end(self, agent: Agent) -> None:
        for _ in range(150):
            parts = agent.stream("tell", ["a", "b", "c"])
            await agent.next(parts, "a stream that is closed early releases its connection, for others to use")
            await close(parts)

        answer = await agent.send("echo", 1, "a stream that is closed early releases its connection, for others to use")
        assert answer.get("result") == 1
