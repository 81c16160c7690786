"""The log as JSON: one object a line, with the ids of traces and remote tasks."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from penguiflow import Context, FlowEvent, JsonLines, Message, Node, create, log_flow_events


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    logger, written = logging.getLogger("penguiflow.tests.logs"), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)


LOGGER = logging.getLogger("penguiflow.tests.logs")


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_every_event_is_a_line_with_its_trace(stream: io.StringIO) -> None:
    async def work(message: Any, ctx: Context) -> Any:
        LOGGER.info("at work", extra={"trace_id": ctx.trace_id})
        return message

    async with create(Node(work), middlewares=[log_flow_events(LOGGER)]) as flow:
        await flow.ask(Message(payload="secret", trace_id="t1"))

    written = lines(stream)
    assert {line["trace_id"] for line in written} == {"t1"}
    events = [line for line in written if "event_type" in line]
    assert [line["event_type"] for line in events] == ["emit", "node_start", "node_end", "emit", "fetch"]
    assert [line["message"] for line in written if line not in events] == ["at work"]
    assert events[2]["node_name"] == "work"
    assert events[2]["latency_ms"] > 0
    assert "secret" not in stream.getvalue()


def test_remote_calls_have_the_ids_of_a2a(stream: io.StringIO) -> None:
    extra = {"context_id": "c1", "task_id": "task-1", "agent_url": "https://agent"}
    log_flow_events(LOGGER)(FlowEvent("remote_call_end", 1.0, "t1", "search", extra=extra))

    (line,) = lines(stream)
    assert (line["trace_id"], line["contextId"], line["taskId"]) == ("t1", "c1", "task-1")
    assert "context_id" not in line


def test_an_exception_stays_on_its_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        LOGGER.exception("it broke")

    (line,) = lines(stream)
    assert (line["level"], line["message"]) == ("ERROR", "it broke")
    assert line["exception"].endswith("ValueError: two\nlines")


def test_a_field_is_not_overwritten_and_need_not_be_json(stream: io.StringIO) -> None:
    LOGGER.info("hello %s", "Ada", extra={"level": "mine", "thing": {1, 2}, "nothing": None})

    (line,) = lines(stream)
    assert (line["level"], line["message"], line["thing"]) == ("INFO", "hello Ada", "{1, 2}")
    assert "nothing" not in line
    assert line["time"].endswith("Z")
