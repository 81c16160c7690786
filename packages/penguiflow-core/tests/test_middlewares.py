"""Middlewares and sinks of events, hooked into a running flow."""

import asyncio
import logging
from typing import Any

import pytest
from pydantic import BaseModel

from penguiflow import Context, FlowEvent, Message, ModelRegistry, Node, NodePolicy, ValidationFailed, create
from penguiflow._runtime import runtime
from penguiflow._runtime.events import EVENTS_CAP
from penguiflow.middlewares import NodeTimings, log_flow_events


async def shout(message: Any, ctx: Context) -> Any:
    if isinstance(message, Message):
        return message.model_copy(update={"payload": message.payload.upper()})
    return message.upper()


class FailsOnce:
    """A node that fails at its first attempt."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, message: str, ctx: Context) -> str:
        self.calls += 1
        if self.calls == 1:
            raise ConnectionError("reset")
        return message


def retrying() -> Node:
    return Node(FailsOnce(), name="flaky", policy=NodePolicy(max_retries=1, backoff_base=0))


async def test_every_event_becomes_a_line_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="penguiflow.events")
    async with create(Node(shout), middlewares=[log_flow_events()]) as flow:
        await flow.ask(Message(payload="hi", trace_id="t-1"))

    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[0] for line in lines] == ["emit", "node_start", "node_end", "emit", "fetch"]
    assert all("trace=t-1" in line for line in lines)
    ended = caplog.records[2]
    assert (ended.event_type, ended.node_name, ended.levelno) == ("node_end", "shout", logging.INFO)  # type: ignore[attr-defined]


async def test_neither_metadata_nor_payload_are_written(caplog: pytest.LogCaptureFixture) -> None:
    class Strict(BaseModel):
        number: int

    caplog.set_level(logging.DEBUG, logger="penguiflow")
    registry = ModelRegistry()
    registry.register("shout", Strict, Strict)
    flow = create(Node(shout), middlewares=[log_flow_events()])
    async with flow.run(registry):
        with pytest.raises(ValidationFailed):
            await flow.ask(Message(payload={"number": "my-payload"}, meta={"key": "my-secret"}))
    log_flow_events()(FlowEvent("pack.note", 0.0, "t", extra={"meta": "my-secret", "payload": "my-payload"}))

    assert "1 errors for Strict" in caplog.text
    assert "my-secret" not in caplog.text
    assert "my-payload" not in caplog.text


async def test_failures_are_logged_above_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("mine")
    caplog.set_level(logging.DEBUG, logger="mine")
    sink = log_flow_events(logger, level=logging.DEBUG, failure_level=logging.ERROR)
    async with create(retrying(), middlewares=[sink]) as flow:
        await flow.ask("hi")

    failures = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.split()[0] for line in failures] == ["node_error", "retry"]
    assert "code=NODE_EXCEPTION" in failures[0]
    assert "exception=ConnectionError: reset" in failures[0]
    assert any("attempt=1" in record.getMessage() for record in caplog.records)


async def test_remote_ids_stand_on_the_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="penguiflow.events")
    extra = {"context_id": "ctx-1", "task_id": "task-1"}

    log_flow_events()(FlowEvent("remote_call_end", 0.0, "t", "search", latency_ms=1.5, queue_depth=2, extra=extra))

    (record,) = caplog.records
    assert (record.context_id, record.task_id) == ("ctx-1", "task-1")  # type: ignore[attr-defined]
    assert record.getMessage() == (
        "remote_call_end trace=t node=search latency_ms=1.50 queue_depth=2 context_id=ctx-1 task_id=task-1"
    )


def test_a_logger_that_is_not_listened_to_costs_no_line(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("quiet")
    logger.setLevel(logging.ERROR)

    log_flow_events(logger)(FlowEvent("emit", 0.0, "t"))

    assert not caplog.records


async def test_timings_count_calls_failures_and_retries_of_each_node() -> None:
    timings = NodeTimings()
    async with create(retrying().to(Node(shout)), middlewares=[timings]) as flow:
        await flow.ask("a")
        await flow.ask("b")

    flaky, shouted = timings.timings()
    assert (flaky.node_name, flaky.ended, flaky.failed, flaky.retried) == ("flaky", 2, 1, 1)
    assert (shouted.node_name, shouted.ended, shouted.failed) == ("shout", 2, 0)
    assert 0 < shouted.mean_ms <= shouted.longest_ms <= shouted.total_ms
    assert shouted.total_ms == pytest.approx(2 * shouted.mean_ms)


def test_timings_of_a_node_that_only_started_are_zero() -> None:
    timings = NodeTimings()
    timings(FlowEvent("node_start", 0.0, "t", "slow"))
    timings(FlowEvent("emit", 0.0, "t"))

    (timing,) = timings.timings()
    assert (timing.mean_ms, timing.ended) == (0.0, 0)


def breaks_at_once(event: FlowEvent) -> None:
    raise RuntimeError(f"cannot take {event.event_type}")


async def breaks_later(event: FlowEvent) -> None:
    await asyncio.sleep(0)
    raise RuntimeError(f"cannot take {event.event_type}")


async def cancels_itself(event: FlowEvent) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("broken", [breaks_at_once, breaks_later, cancels_itself])
@pytest.mark.parametrize("hook", ["middlewares", "on_event"])
async def test_what_a_listener_raises_is_logged_and_changes_nothing(
    broken: Any, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def note(event: FlowEvent) -> None:
        seen.append(event.event_type)

    options: dict[str, Any] = (
        {"middlewares": [broken, note]} if hook == "middlewares" else {"middlewares": [note], "on_event": broken}
    )
    async with create(Node(shout), **options) as flow:
        assert await flow.ask("hi") == "HI"

    assert seen == ["emit", "node_start", "node_end", "emit", "fetch"]
    assert caplog.text.count(f"{broken!r}") == len(seen)


async def test_a_listener_that_is_stuck_delays_no_message_and_drops_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go = asyncio.Event()

    async def stuck(event: FlowEvent) -> None:
        await go.wait()

    messages = EVENTS_CAP // 4
    async with create(Node(shout), middlewares=[stuck]) as flow:
        for _ in range(messages):
            assert await flow.ask("hi") == "HI"
        dropped = flow.events_dropped
        go.set()

    assert 5 * messages - EVENTS_CAP - 2 <= dropped <= 5 * messages - EVENTS_CAP
    assert caplog.text.count("events are dropped") == 1


async def test_a_listener_that_is_stuck_does_not_hold_up_a_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def stuck(event: FlowEvent) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(runtime, "_FLUSH_S", 0.02)
    async with create(Node(shout), middlewares=[stuck]) as flow:
        assert await flow.ask("hi") == "HI"

    assert "a listener of the flow is stuck: 4 events were dropped at its stop" in caplog.text


async def test_a_middleware_added_while_the_flow_runs_hears_what_comes() -> None:
    seen: list[str] = []
    async with create(Node(shout)) as flow:
        await flow.ask("before")
        flow.add_middleware(lambda event: seen.append(event.event_type))
        await flow.ask("after")

    assert seen == ["emit", "node_start", "node_end", "emit", "fetch"]
