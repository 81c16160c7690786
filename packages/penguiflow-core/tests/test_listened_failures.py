"""A trace whose input does not fit ends the same, whether or not anyone listens."""

import pytest

from penguiflow import Context, FlowEvent, ModelRegistry, Node, ValidationFailed, create


async def halve(number: int, ctx: Context) -> int:
    return number // 2


async def test_an_input_that_does_not_fit_ends_a_trace_that_is_listened_to() -> None:
    events: list[FlowEvent] = []
    registry = ModelRegistry()
    registry.register("halve", int, int)
    async with create(Node(halve), on_event=events.append).run(registry) as flow:
        with pytest.raises(ValidationFailed):
            await flow.ask("three")

    (failed,) = [event for event in events if event.event_type == "node_error"]
    assert failed.latency_ms is None
