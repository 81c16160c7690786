"""Calls that are cancelled here, and tasks that are cancelled there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguiflow.remote import ResumableTransport
from penguiflow_conformance._cancelling import at_each_await
from penguiflow_conformance._remote.case import Agent, RemoteCase, close, spelled, text_of
from penguiflow_conformance._waiting import until

__all__ = ["RemoteCancellationRules", "ResumeRules"]


async def waiting(agent: Agent, key: str) -> tuple[AsyncIterator[dict[str, Any]], str]:
    """Begin a task that waits; returns the stream, read until it has named the task, and the name."""
    parts, task_id, found = agent.stream("wait", key), None, ""
    while task_id is None or "waiting" not in found:
        part = await agent.next(parts, "a stream names its task while it runs, so that it can be cancelled")
        assert part is not None, "a stream goes on until there is a result"
        task_id, found = part.get("task_id") or task_id, found + text_of([part])
    return parts, task_id


class RemoteCancellationRules(RemoteCase):
    """`cancel`, and calls whose await is cancelled."""

    async def test_a_cancelled_task_stops_at_the_agent(self, agent: Agent, key: str) -> None:
        parts, task_id = await waiting(agent, key)
        await agent.transport.cancel(agent.url, task_id)

        async def stopped() -> bool:
            return (await agent.report(key))["cancelled"] == 1

        await until(stopped, patience_s=self.patience_s, rule="cancel reaches the task at the agent")
        await close(parts)

    async def test_the_stream_of_a_cancelled_task_ends(self, agent: Agent, key: str) -> None:
        parts, task_id = await waiting(agent, key)
        await agent.transport.cancel(agent.url, task_id)

        try:
            rest = await agent.rest(parts)
        except AssertionError:
            raise
        except Exception:
            return  # An ordinary exception ends a call as well.
        states = [spelled(part.get("state")) for part in rest if part.get("kind") in ("status", "result")]
        assert "canceled" in states, f"the stream of a cancelled task names its state, canceled: {rest}"

    async def test_cancelling_twice_is_no_error(self, agent: Agent, key: str) -> None:
        parts, task_id = await waiting(agent, key)
        for _ in range(3):
            await agent.transport.cancel(agent.url, task_id)
        await close(parts)

    async def test_cancelling_what_has_ended_is_no_error(self, agent: Agent) -> None:
        rest = await agent.rest(agent.stream("tell", ["a"]))
        task_ids = [part["task_id"] for part in rest if part.get("task_id")]
        assert task_ids, "a stream names its task"

        await agent.transport.cancel(agent.url, task_ids[-1])

    async def test_cancelling_what_is_not_known_is_no_error(self, agent: Agent, key: str) -> None:
        await agent.transport.cancel(agent.url, key)

    async def test_cancelling_one_task_leaves_others_alone(self, agent: Agent, key: str) -> None:
        doomed, task_id = await waiting(agent, f"{key}-doomed")
        living, _ = await waiting(agent, f"{key}-living")
        await agent.transport.cancel(agent.url, task_id)
        await agent.send("release", f"{key}-living")

        rest = await agent.rest(living)
        assert rest[-1].get("result") == f"released {key}-living", "cancelling one task leaves others alone"
        await close(doomed)

    async def test_cancelled_calls_release_their_connections(self, agent: Agent, key: str) -> None:
        rule = "a call that is cancelled releases its connection, for others to use"
        for batch in range(6):
            calls = [asyncio.create_task(agent.send_unbounded("wait", key)) for _ in range(20)]

            async def started(count: int = 20 * (batch + 1)) -> bool:
                return (await agent.report(key))["started"] >= count

            await until(started, patience_s=self.patience_s, rule=rule)
            for call in calls:
                call.cancel()
            await asyncio.wait(calls, timeout=self.patience_s)
            assert all(call.done() for call in calls), "a call that is cancelled ends"

        assert (await agent.send("release", key, rule)).get("result") is None

    async def test_a_send_may_be_cancelled_wherever_it_waits(self, agent: Agent) -> None:
        async for number, attempt in at_each_await(lambda n: agent.send_unbounded("echo", n)):
            answer = await agent.send("echo", -number)
            assert answer.get("result") == -number, f"a transport works on after a send is cancelled at {attempt.where}"

    async def test_a_stream_may_be_cancelled_wherever_it_waits(self, agent: Agent) -> None:
        async for number, attempt in at_each_await(lambda n: self.read(agent, n)):
            told = await self.read(agent, number)
            assert told == f"{number},.", f"a transport works on after a stream is cancelled at {attempt.where}"

    async def read(self, agent: Agent, number: int) -> str:
        """Read a stream, and close it where it began."""
        parts = agent.stream("tell", [f"{number},", "."])
        try:
            return text_of([part async for part in parts])
        finally:
            await close(parts)

    async def test_a_cancel_may_be_cancelled_wherever_it_waits(self, agent: Agent, key: str) -> None:
        parts, task_id = await waiting(agent, key)
        async for _, attempt in at_each_await(lambda _: agent.transport.cancel(agent.url, task_id)):
            answer = await agent.send("echo", 1)
            assert answer.get("result") == 1, f"a transport works on after cancel was cancelled at {attempt.where}"
        await close(parts)


class ResumeRules(RemoteCase):
    """`ResumableTransport`."""

    async def test_a_task_is_taken_up_where_it_stands(self, agent: Agent, key: str) -> None:
        resumable = self.able(agent.transport, ResumableTransport)
        parts, task_id = await waiting(agent, key)
        await close(parts)

        again = aiter(resumable.resubscribe(agent.url, task_id))
        await agent.send("release", key)
        rest = await agent.rest(again)

        assert text_of(rest) == "waiting", "resubscribe gives the parts of the answer from its beginning, each once"
        assert rest[-1].get("result") == f"released {key}", "resubscribe ends with the result"
        assert (await agent.report(key))["started"] == 1, "taking a task up sends no message again"

    async def test_a_task_is_taken_up_past_a_part(self, agent: Agent, key: str) -> None:
        resumable = self.able(agent.transport, ResumableTransport)
        parts = agent.stream("wait", key)
        found, position, task_id = "", None, None
        while "waiting" not in found:
            part = await agent.next(parts, "a stream gives its parts")
            assert part is not None
            found += text_of([part])
            position, task_id = part.get("position") or position, part.get("task_id") or task_id
        await close(parts)
        if position is None:
            pytest.skip("the parts of this transport have no position")
        assert task_id is not None, "a stream names its task while it runs"

        again = aiter(resumable.resubscribe(agent.url, task_id, position))
        await agent.send("release", key)
        rest = await agent.rest(again)
        assert text_of(rest) == "", "resubscribe past a part does not give it again"
        assert rest[-1].get("result") == f"released {key}"

    async def test_a_task_that_is_not_known_cannot_be_taken_up(self, agent: Agent, key: str) -> None:
        resumable = self.able(agent.transport, ResumableTransport)
        with pytest.raises(LookupError):
            await agent.rest(aiter(resumable.resubscribe(agent.url, key)))
