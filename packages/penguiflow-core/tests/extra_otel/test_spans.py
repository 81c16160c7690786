"""Spans of flows, by the SDK of OpenTelemetry and its exporter in memory."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel

from penguiflow import (
    Context,
    FlowError,
    FlowEvent,
    InMemoryStateStore,
    InProcBus,
    Message,
    ModelRegistry,
    Node,
    NodePolicy,
    RemoteNode,
    TraceCancelled,
    create,
)
from penguiflow.otel import OpenTelemetryMiddleware, with_trace_context

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Recorder:
    """One process's spans."""

    def __init__(self, **options: Any) -> None:
        self.exporter, self.provider = InMemorySpanExporter(), TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.middleware = OpenTelemetryMiddleware(self.provider, **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def same(message: Any, ctx: Context) -> Any:
    return message


def trace_ids(spans: Iterable[ReadableSpan]) -> set[int]:
    return {span.context.trace_id for span in spans if span.context is not None}


async def ask(recorder: Recorder, *nodes: Any, message: Any = 1, registry: Any = None) -> Any:
    flow = create(*nodes, middlewares=[recorder.middleware])
    async with flow.run(registry):
        return await flow.ask(message)


async def test_each_node_is_a_span_of_the_callers_trace(recorder: Recorder) -> None:
    tracer = recorder.provider.get_tracer("caller")
    with tracer.start_as_current_span("request") as request:
        message = with_trace_context(Message(payload=1, trace_id="t1"))
        await ask(recorder, Node(same, name="first").to(Node(same, name="second")), message=message)

    first, second = recorder.named("first")[0], recorder.named("second")[0]
    assert trace_ids([first, second]) == {request.get_span_context().trace_id}
    assert {span.parent.span_id for span in (first, second) if span.parent} == {request.get_span_context().span_id}
    assert dict(first.attributes or {}) == {
        "penguiflow.trace_id": "t1",
        "penguiflow.attempt": 0,
        "penguiflow.node": "first",
    }
    assert first.start_time is not None
    assert first.end_time is not None
    assert first.start_time <= first.end_time


async def test_without_a_caller_the_spans_of_a_trace_belong_together(recorder: Recorder) -> None:
    nodes = Node(same, name="first").to(Node(same, name="second"))
    await ask(recorder, nodes, message=Message(payload=1, trace_id="t1"))
    await ask(recorder, nodes, message=Message(payload=1, trace_id="t2"))

    by_trace = {
        name: trace_ids(span for span in recorder.spans if (span.attributes or {})["penguiflow.trace_id"] == name)
        for name in ("t1", "t2")
    }
    assert [len(ids) for ids in by_trace.values()] == [1, 1]
    assert by_trace["t1"] != by_trace["t2"]


async def test_spans_join_across_processes() -> None:
    here, there, store, bus = Recorder(), Recorder(), InMemoryStateStore(), InProcBus()
    flows = [
        create(Node(same, name="first").to(Node(same, name="second")), middlewares=[recorder.middleware])
        for recorder in (here, there)
    ]
    async with (
        flows[0].run(nodes=["first"], state_store=store, message_bus=bus),
        flows[1].run(nodes=["second"], state_store=store, message_bus=bus),
    ):
        tracer = here.provider.get_tracer("caller")
        with tracer.start_as_current_span("request") as request:
            await flows[0].ask(with_trace_context(Message(payload=1)))

    assert [span.name for span in here.spans if span.name != "request"] == ["first"]
    assert [span.name for span in there.spans] == ["second"]
    assert trace_ids([*here.spans, *there.spans]) == {request.get_span_context().trace_id}


async def test_a_failed_attempt_ends_its_span_with_the_error(recorder: Recorder) -> None:
    async def flaky(message: Any, ctx: Context) -> Any:
        if not ctx.attempt:
            raise ConnectionError("reset")
        return message

    await ask(recorder, Node(flaky, policy=NodePolicy(max_retries=1, backoff_base=0.001)))

    failed, passed = recorder.named("flaky")
    assert (failed.status.status_code, passed.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert failed.status.description == "NODE_EXCEPTION: ConnectionError: reset"
    (event,) = failed.events
    assert (event.name, (event.attributes or {})["exception.type"]) == ("exception", "builtins.ConnectionError")
    assert "in flaky" in str((event.attributes or {})["exception.stacktrace"])


async def test_no_payload_is_recorded_with_an_error(recorder: Recorder) -> None:
    class Order(BaseModel):
        number: int

    async def read(message: Any, ctx: Context) -> Any:
        return Order.model_validate(message)

    with pytest.raises(FlowError):
        await ask(recorder, Node(read), message={"number": "my secret"})

    (span,) = recorder.named("read")
    assert "secret" not in span.to_json()
    assert "1 errors for Order" in span.to_json()


async def test_a_node_that_is_cancelled_ends_its_span(recorder: Recorder) -> None:
    reached = asyncio.Event()

    async def wait(message: Any, ctx: Context) -> Any:
        reached.set()
        await asyncio.Event().wait()

    async with create(Node(wait), middlewares=[recorder.middleware]) as flow:
        submitted = await flow.submit(1)
        await reached.wait()
        submitted.cancel()
        with pytest.raises(TraceCancelled):
            await submitted.result()

    (span,) = recorder.named("wait")
    assert (span.status.description or "").startswith("TRACE_CANCELLED")


async def test_chunks_are_counted(recorder: Recorder) -> None:
    async def stream(message: Any, ctx: Context) -> Any:
        for text in "abc":
            await ctx.emit_chunk(text=text)

    await ask(recorder, Node(stream))

    assert (recorder.named("stream")[0].attributes or {})["penguiflow.chunks"] == 3


class Agent:
    """A transport whose agent answers, or fails."""

    def __init__(self, state: str = "completed") -> None:
        self.state = state
        self.traceparent: str | None = None

    async def send(self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        self.traceparent = message["meta"].get("traceparent")
        return {"result": "found", "context_id": "c1", "task_id": "t1", "state": self.state}

    async def stream(
        self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        yield {"kind": "result", **await self.send(agent_url, agent_card, message)}

    async def cancel(self, agent_url: str, task_id: str) -> None:
        return None


def remote(agent: Agent) -> Node:
    return RemoteNode("search", transport=agent, skill="find", agent_url="https://agent")


async def test_a_remote_call_is_a_span_within_its_node(recorder: Recorder) -> None:
    agent = Agent()
    await ask(recorder, remote(agent), message=Message(payload=1, meta={"traceparent": PARENT}))

    (call,), (node,) = recorder.named("search find"), recorder.named("search")
    assert call.kind is SpanKind.CLIENT
    assert call.parent is not None
    assert node.context is not None
    assert call.parent.span_id == node.context.span_id
    attributes = dict(call.attributes or {})
    assert attributes["penguiflow.remote.task_id"] == "t1"
    assert attributes["penguiflow.remote.context_id"] == "c1"
    assert attributes["penguiflow.remote.agent_url"] == "https://agent"
    received = attributes["penguiflow.remote.bytes_received"]
    assert isinstance(received, int)
    assert received > 0
    assert agent.traceparent == PARENT, "the agent is told which span it works for"
    assert trace_ids([call, node]) == {0x4BF92F3577B34DA6A3CE929D0E0E4736}


async def test_a_failed_remote_call_ends_its_span_with_the_error(recorder: Recorder) -> None:
    with pytest.raises(FlowError):
        await ask(recorder, remote(Agent("failed")))

    (call,) = recorder.named("search find")
    assert call.status.status_code is StatusCode.ERROR
    assert "REMOTE_FAILED" in (call.status.description or "")


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-0-0-00", 7, PARENT.replace("4", "g")])
async def test_a_broken_trace_context_is_as_none(recorder: Recorder, traceparent: Any) -> None:
    await ask(recorder, Node(same), message=Message(payload=1, trace_id="t1", meta={"traceparent": traceparent}))
    await ask(recorder, Node(same), message=Message(payload=1, trace_id="t1"))

    assert len(trace_ids(recorder.spans)) == 1


async def test_a_message_outside_of_any_span_stays_as_it_is() -> None:
    assert not trace.get_current_span().get_span_context().is_valid
    message = Message(payload=1)

    assert with_trace_context(message) is message


def start(trace_id: str) -> FlowEvent:
    return FlowEvent("node_start", 1.0, trace_id, "node")


def test_spans_whose_end_is_never_told_are_bounded_and_end_at_the_close() -> None:
    recorder = Recorder(max_open_spans=3)
    for number in range(10):
        recorder.middleware(start(f"t{number}"))
    assert len(recorder.spans) == 7

    recorder.middleware.close()

    assert len(recorder.spans) == 10
    recorder.middleware(FlowEvent("node_end", 2.0, "t9", "node"))
    assert len(recorder.spans) == 10


def test_a_bound_that_is_not_positive_is_refused() -> None:
    with pytest.raises(FlowError, match="max_open_spans"):
        OpenTelemetryMiddleware(max_open_spans=0)


def test_events_of_one_node_at_work_on_several_messages_end_all_spans(recorder: Recorder) -> None:
    for _ in range(3):
        recorder.middleware(start("t1"))
    for _ in range(3):
        recorder.middleware(FlowEvent("node_end", 2.0, "t1", "node"))

    assert len(recorder.spans) == 3


def test_without_the_extra_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; import penguiflow; import penguiflow.otel"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert 'ImportError: penguiflow.otel needs OpenTelemetry: pip install "penguiflow-core[otel]"' in done.stderr


def test_the_runtime_imports_no_telemetry_by_itself() -> None:
    code = "import sys, penguiflow; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


async def test_a_registry_changes_nothing(recorder: Recorder) -> None:
    registry = ModelRegistry()
    registry.register("same", int, int)

    await ask(recorder, Node(same), message=Message(payload=1, meta={"traceparent": PARENT}), registry=registry)

    assert trace_ids(recorder.spans) == {0x4BF92F3577B34DA6A3CE929D0E0E4736}
