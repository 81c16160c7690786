"""What is measured: each case of the flow beside the floors that do the same work."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from benchmarks.flow import _floor, _flows, _work
from benchmarks.flow._floor import Pipeline
from benchmarks.flow._parts import part_cases
from benchmarks.flow._rounds import Case
from benchmarks.flow._samples import (
    FlowDrive,
    QueueDrive,
    Sample,
    fed,
    of_asking_at_once,
    of_bare_awaits,
    on_flow,
    on_queues,
    windowed,
    with_middleware,
)
from penguiflow import NodePolicy


@dataclass(frozen=True)
class Counts:
    """How many messages one sample of each part sends."""

    alone: int = 1000
    in_flight: int = 5000
    fan_out: int = 1000
    io: int = 200
    traces: int = 10_000
    operations: int = 5000


QUICK = Counts(alone=20, in_flight=200, fan_out=50, io=50, traces=400, operations=100)

_bare = functools.partial(_flows.three_nodes, _work.add_one)
_with_messages = functools.partial(_flows.three_nodes, _work.add_one_within)
_typed = functools.partial(_flows.three_nodes, _work.add_one_typed)
_queues = functools.partial(Pipeline, [_work.add_one] * 3)
_message_queues = functools.partial(Pipeline, [_work.add_one_within] * 3)
_typed_queues = functools.partial(_floor.TypedPipeline, [_work.add_one_typed] * 3)


@dataclass(frozen=True)
class _Way:
    """How queues and flows are fed and emptied."""

    name: str
    queues: QueueDrive
    flow: FlowDrive


_ALONE = _Way("one at a time", Pipeline.one_at_a_time, _flows.one_at_a_time)
_WINDOW = _Way("64 in flight", windowed(Pipeline.window), windowed(_flows.window))


def every_case(counts: Counts) -> list[Case]:
    """Return every case, each floor before what is compared with it."""
    return [
        *_three_nodes(_ALONE, counts.alone, {}),
        *_three_nodes(_WINDOW, counts.in_flight, {"bare": 3.0, "message": 6.0, "typed": 1.8, "heard": 8.0}),
        *_other_callers(counts.in_flight),
        *_fan_out(_ALONE, counts.fan_out, None),
        *_fan_out(_WINDOW, counts.fan_out, 5.0),
        *_io(counts.io),
        *_many(counts.traces),
        *part_cases(counts.operations),
    ]


def _three_nodes(way: _Way, count: int, at_most: dict[str, float]) -> list[Case]:
    case = functools.partial(_case, "a", f"3 nodes, {way.name}", count)
    floor = case("bare", "queues", on_queues(_queues, way.queues))
    messages = case("Message", "queues", on_queues(_message_queues, way.queues, make=_work.message))
    typed = case("validated", "queues", on_queues(_typed_queues, way.queues, make=_work.item))
    on_messages = on_flow(_with_messages, way.flow, make=_work.message)
    on_models = on_flow(_typed, way.flow, make=_work.item, registry=_work.registry())
    heard = on_flow(with_middleware(_bare), way.flow)
    return [
        floor,
        case("bare", "flow", on_flow(_bare, way.flow), floor, at_most=at_most.get("bare")),
        case("bare", "flow, one middleware", heard, floor, at_most=at_most.get("heard")),
        messages,
        case("Message", "flow", on_messages, messages, floor, at_most=at_most.get("message")),
        typed,
        case("validated", "flow", on_models, typed, at_most=at_most.get("typed")),
    ]


def _other_callers(count: int) -> list[Case]:
    case = functools.partial(_case, "a", "3 nodes, 64 in flight", count)
    floor = case("bare, emit and fetch", "queues", on_queues(_queues, _WINDOW.queues))
    fetched = on_flow(_bare, windowed(_flows.fetch_window))
    asked = functools.partial(_floor.Answering, [_work.add_one] * 3)
    asking = case("bare, 64 tasks asking", "queues and futures", on_queues(asked, windowed(_flows.asking)))
    return [
        floor,
        case("bare, emit and fetch", "flow", fetched, floor),
        asking,
        case("bare, 64 tasks asking", "flow", on_flow(_bare, windowed(_flows.asking)), asking),
    ]


def _fan_out(way: _Way, count: int, at_most: float | None) -> list[Case]:
    case = functools.partial(_case, "b", f"fan-out to 8 and join, {way.name}", count, "bare")
    floor = case("queues", on_queues(_floor.FanOut, way.queues, steps=2))
    return [floor, case("flow", on_flow(_flows.fan_out, way.flow, steps=2), floor, at_most=at_most)]


def _io(count: int) -> list[Case]:
    case = functools.partial(_case, "c", f"{count} traces, 3 nodes of 10 ms of I/O", count)
    slow = functools.partial(_flows.three_nodes, _work.add_one_after_io)
    wide = functools.partial(slow, policy=NodePolicy(max_concurrency=2 * count), queue_maxsize=2 * count)
    floor = case("bare", "awaits", of_bare_awaits(3))
    return [
        floor,
        case("bare", "flow, default bounds", of_asking_at_once(slow), floor, at_most=4.0),
        case("bare", "flow, bounds above the traces", of_asking_at_once(wide), floor, at_most=1.5),
    ]


def _many(count: int) -> list[Case]:
    case = functools.partial(_case, "d", f"{count:,} traces", count, "bare")
    floor = case("queues", on_queues(_queues, fed(Pipeline.feed)))
    heard = on_flow(with_middleware(_bare), fed(_flows.feed))
    return [
        floor,
        case("flow", on_flow(_bare, fed(_flows.feed)), floor, at_most=4.0),
        case("flow, one middleware", heard, floor),
    ]


def _case(
    part: str,
    task: str,
    count: int,
    payloads: str,
    contender: str,
    sample: Sample,
    *floors: Case,
    at_most: float | None = None,
) -> Case:
    return Case(
        part=part,
        task=task,
        payloads=payloads,
        contender=contender,
        count=count,
        sample=sample,
        floors=floors,
        at_most=at_most,
    )
