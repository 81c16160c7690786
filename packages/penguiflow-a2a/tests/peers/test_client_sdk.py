"""Our client against the servers of a2a-sdk, of both lines, over every version and binding they speak."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from penguiflow import InMemoryStateStore, Message, PenguiFlow, RemoteFailed, RemoteNode, create, log_flow_events
from penguiflow_a2a import A2AClientTransport

HERE = Path(__file__).parent
SDK_1 = ("A2A_SDK1_PYTHON", "sdk_agent.py")
SDK_0_3 = ("A2A_SDK03_PYTHON", "sdk03_agent.py")
SPOKEN = {
    f"{line} {version} {binding}{' polled' if '--no-streaming' in options else ''}": (server, options, version, binding)
    for line, server, bindings, versions in (("1.x", SDK_1, [()], ("1.0", "0.3")), ("0.3", SDK_0_3, [()], ("0.3",)))
    for version in versions
    for binding in ("JSONRPC", "HTTP+JSON")
    for rest in ((), ("--no-streaming",))
    for options in [(*rest, *(("--http-json",) if line == "0.3" and binding == "HTTP+JSON" else ()))]
}


class Peer:
    """A server of a2a-sdk in a process of its own, and how our client is to speak to it."""

    def __init__(self, url: str, version: Any, binding: Any, options: tuple[str, ...]) -> None:
        self.url = url
        self.streams = "--no-streaming" not in options
        self.version = version
        self.binding = binding

    @asynccontextmanager
    async def flow(self, **options: Any) -> AsyncIterator[PenguiFlow]:
        transport = A2AClientTransport(base_url=self.url, versions=[self.version], bindings=[self.binding])
        node = RemoteNode("far", transport=transport, skill="any", agent_url=self.url)
        async with transport, create(node, **options) as flow:
            yield flow

    def seen(self, what: str) -> list[Any]:
        found: list[Any] = httpx.get(f"{self.url}/seen").json()[what]
        return found


@pytest.fixture(scope="module", params=SPOKEN.values(), ids=SPOKEN)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    (python, script), options, version, binding = request.param
    process = subprocess.Popen([os.environ[python], HERE / script, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Peer(process.stdout.readline().strip(), version, binding, options)
    finally:
        process.kill()
        process.communicate()


async def test_a_task_gives_its_artifact(peer: Peer) -> None:
    async with peer.flow() as flow:
        assert await flow.ask("hello") == "Hello"
        assert await flow.ask("direct") == "at once"


async def test_data_and_files_come_back(peer: Peer) -> None:
    async with peer.flow() as flow:
        assert await flow.ask({"a": [1, 2]}) == [{"a": [1, 2]}, {"raw": "AP8=", "filename": "f"}]
    assert {"skill": "any"}.items() <= peer.seen("metadata")[-1].items()


async def test_text_streams_in_order(peer: Peer) -> None:
    async with peer.flow() as flow:
        trace = await flow.submit("stream 30")
        chunks = [chunk async for chunk in trace.chunks()]
        told = "".join(f"{number} " for number in range(30))
        assert await trace.result() == told

    assert "".join(chunk.text for chunk in chunks) == told
    assert chunks[-1].done
    assert len(chunks) >= 30 or not peer.streams


@pytest.mark.parametrize(("text", "state", "said"), [("fail", "failed", "fish"), ("ask", "input-required", "year")])
async def test_a_task_without_a_result_says_why(peer: Peer, text: str, state: str, said: str) -> None:
    async with peer.flow() as flow:
        with pytest.raises(RemoteFailed, match=said) as caught:
            await flow.ask(text)
    assert caught.value.state == state


async def test_cancelling_the_trace_cancels_the_task(peer: Peer) -> None:
    store = InMemoryStateStore()
    async with peer.flow(state_store=store) as flow:
        trace = await flow.submit(Message(payload="hang", trace_id="t"))
        # A store has no event to wait for.
        while not (bindings := await store.load_remote_bindings("t")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await trace.cancel()

    assert peer.seen("cancelled")[-1] == bindings[0]["task_id"]


async def test_a_stream_that_breaks_is_taken_up_without_a_second_message(peer: Peer) -> None:
    before = len(peer.seen("messages"))
    transport = A2AClientTransport(base_url=peer.url, versions=[peer.version], bindings=[peer.binding])
    async with transport:
        parts = transport.stream(peer.url, {}, message("stream 20 50"))
        async for part in parts:
            if part["kind"] == "chunk":
                break
        await parts.aclose()
        again = [each async for each in transport.resubscribe(peer.url, part["task_id"])]

    assert again[-1]["result"] == "".join(f"{number} " for number in range(20))
    assert len(peer.seen("messages")) == before + 1


def message(payload: str) -> dict[str, Any]:
    sent = {"skill": "any", "payload": payload, "trace_id": "t", "message_id": os.urandom(8).hex(), "meta": {}}
    return {**sent, "deadline_s": None}


async def test_the_log_and_the_store_show_the_ids_of_the_task(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="penguiflow.events")
    store = InMemoryStateStore()
    async with peer.flow(state_store=store, middlewares=[log_flow_events()]) as flow:
        await flow.ask(Message(payload="hello", trace_id="t"))

    (binding,) = await store.load_remote_bindings("t")
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("remote_call_end")]
    assert f"context_id={binding['context_id']} task_id={binding['task_id']}" in line
