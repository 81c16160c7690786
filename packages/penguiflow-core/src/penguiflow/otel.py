"""Spans of OpenTelemetry for the nodes and remote calls of a flow; the extra `otel` brings what it needs.

```python
from penguiflow.otel import OpenTelemetryMiddleware, with_trace_context

flow = create(..., middlewares=[OpenTelemetryMiddleware()])
trace = await flow.submit(with_trace_context(Message(payload=question)))
```
"""

from __future__ import annotations

import traceback
from collections import OrderedDict, deque
from hashlib import sha256
from typing import Any

from penguiflow._bounds import invalid_bound
from penguiflow._described import describe_without_values
from penguiflow.metrics import FlowEvent
from penguiflow.types import Message, set_meta

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ImportError(
        'penguiflow.otel needs OpenTelemetry: pip install "penguiflow-core[otel]"', name=error.name
    ) from error

__all__ = ["OpenTelemetryMiddleware", "with_trace_context"]

_TRACEPARENT = "traceparent"
"""Under which key of `Message.meta` the W3C trace context travels."""

_propagator = TraceContextTextMapPropagator()


def with_trace_context(message: Message) -> Message:
    """Return the message with the current span in its metadata, as the W3C field `traceparent`.

    The spans of the trace are then children of that span, in every process that the trace reaches. The message is
    returned unchanged where no span is current.
    """
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    traceparent = carrier.get(_TRACEPARENT)
    return message if traceparent is None else set_meta(message, _TRACEPARENT, traceparent)


class OpenTelemetryMiddleware:
    """A middleware that makes a span of each attempt of a node, and of each remote call within it.

    Spans are children of the span that `with_trace_context` put into the message, in whichever process they are made.
    Without that, all spans of a trace still have one OpenTelemetry trace id, made from the id of the trace, and a
    parent that no process records. An attempt that fails, or is interrupted, ends its span with an error.

    `tracer_provider` is the global one by default. At most `max_open_spans` are open at once: beyond, the one begun
    first is ended. One object may listen to several flows of an event loop. Neither payloads nor metadata are recorded.

    Raises:
        FlowDefinitionError: `max_open_spans` is not positive.
    """

    def __init__(self, tracer_provider: trace.TracerProvider | None = None, *, max_open_spans: int = 10_000) -> None:
        if max_open_spans < 1:
            raise invalid_bound("max_open_spans", max_open_spans, "at least 1")
        self._tracer = trace.get_tracer("penguiflow", tracer_provider=tracer_provider)
        self._spans = _OpenSpans(max_open_spans)

    def __call__(self, event: FlowEvent) -> None:
        """Take note of an event."""
        match event.event_type:
            case "node_start":
                self._start_node(event)
            case "node_end" | "node_error":
                self._end(_key(event, "node"), event)
            case "remote_call_start":
                self._start_remote(event)
            case "remote_call_end" | "remote_call_error":
                self._end(_key(event, "remote"), event)
            case "stream_chunk":
                self._spans.count_chunk(_key(event, "node"))
            case "retry" | "core.remote_status" | "core.remote_resumed":
                self._note(event)

    def close(self) -> None:
        """End the spans that are still open, of nodes whose end was never told."""
        self._spans.end_all()

    def _start_node(self, event: FlowEvent) -> None:
        span = self._tracer.start_span(
            event.node_name or "node",
            context=_parent(event),
            kind=SpanKind.INTERNAL,
            start_time=_nanoseconds(event.ts),
            attributes=_attributes(event),
        )
        self._spans.open(_key(event, "node"), span)

    def _start_remote(self, event: FlowEvent) -> None:
        node = self._spans.latest(_key(event, "node"))
        span = self._tracer.start_span(
            f"{event.node_name} {event.extra.get('skill', '')}".strip(),
            context=_parent(event) if node is None else trace.set_span_in_context(node),
            kind=SpanKind.CLIENT,
            start_time=_nanoseconds(event.ts),
            attributes=_attributes(event),
        )
        self._spans.open(_key(event, "remote"), span)

    def _end(self, key: _Key, event: FlowEvent) -> None:
        span, chunks = self._spans.close(key)
        if span is None:
            return
        if chunks:
            span.set_attribute("penguiflow.chunks", chunks)
        span.set_attributes(_attributes(event))
        if event.event_type in ("node_error", "remote_call_error"):
            _fail(span, event)
        span.end(_nanoseconds(event.ts))

    def _note(self, event: FlowEvent) -> None:
        span = self._spans.latest(_key(event, "remote")) or self._spans.latest(_key(event, "node"))
        if span is not None:
            span.add_event(event.event_type, _attributes(event), _nanoseconds(event.ts))


_Key = tuple[str, str, str | None, int]


def _fail(span: Span, event: FlowEvent) -> None:
    """Say on a span how it failed; not by `record_exception`, which repeats values of a payload."""
    status, error = str(event.extra.get("code") or "ERROR"), event.exception
    if error is not None:
        text = describe_without_values(error)
        status = f"{status}: {text}"
        recorded = {
            "exception.type": f"{type(error).__module__}.{type(error).__qualname__}",
            "exception.message": text,
            "exception.stacktrace": "".join(traceback.format_tb(error.__traceback__)),
        }
        span.add_event("exception", recorded, _nanoseconds(event.ts))
    span.set_status(StatusCode.ERROR, status)


class _OpenSpans:
    """The spans that have not ended, by what they are of.

    A node that handles several messages of a trace at once has several under one key, and events do not tell which of
    them ended: the first to begin is taken for the first to end. Invariant: `_count` is the sum of the lengths.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._open: OrderedDict[_Key, deque[Span]] = OrderedDict()
        self._chunks: dict[_Key, int] = {}

    def open(self, key: _Key, span: Span) -> None:
        """Keep a span; ends the oldest where there are too many."""
        self._open.setdefault(key, deque()).append(span)
        self._count += 1
        if self._count > self._most:
            oldest, _ = self.close(next(iter(self._open)))
            if oldest is not None:
                oldest.end()

    def latest(self, key: _Key) -> Span | None:
        """Return the span that began last under a key."""
        spans = self._open.get(key)
        return spans[-1] if spans else None

    def close(self, key: _Key) -> tuple[Span | None, int]:
        """Forget the span that began first under a key; returns it, and how many chunks were made."""
        spans = self._open.get(key)
        if not spans:
            return None, 0
        self._count -= 1
        span = spans.popleft()
        if not spans:
            del self._open[key]
        return span, self._chunks.pop(key, 0)

    def count_chunk(self, key: _Key) -> None:
        """Count a chunk of the node that is at work."""
        if key in self._open:
            self._chunks[key] = self._chunks.get(key, 0) + 1

    def end_all(self) -> None:
        """End every span."""
        while self._open:
            span, _ = self.close(next(iter(self._open)))
            if span is not None:
                span.end()


def _key(event: FlowEvent, kind: str) -> _Key:
    return kind, event.trace_id, event.node_name, event.attempt


def _nanoseconds(ts: float) -> int:
    return int(ts * 1e9)


def _parent(event: FlowEvent) -> Context:
    """Return the context that spans of an event's trace belong to."""
    traceparent = event.extra.get(_TRACEPARENT)
    if isinstance(traceparent, str):
        context = _propagator.extract({_TRACEPARENT: traceparent}, Context())
        if trace.get_current_span(context).get_span_context().is_valid:
            return context
    digest = sha256(event.trace_id.encode("utf-8", "surrogatepass")).digest()
    parent = SpanContext(
        trace_id=int.from_bytes(digest[:16], "big"),
        span_id=int.from_bytes(digest[16:24], "big"),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


_OF_REMOTE = {
    "agent_url": "penguiflow.remote.agent_url",
    "context_id": "penguiflow.remote.context_id",
    "task_id": "penguiflow.remote.task_id",
    "skill": "penguiflow.remote.skill",
    "state": "penguiflow.remote.state",
    "bytes_sent": "penguiflow.remote.bytes_sent",
    "bytes_received": "penguiflow.remote.bytes_received",
    "cancel_latency_ms": "penguiflow.remote.cancel_latency_ms",
    "delay_s": "penguiflow.retry.delay_s",
    "code": "penguiflow.error.code",
}


def _attributes(event: FlowEvent) -> dict[str, Any]:
    attributes: dict[str, Any] = {"penguiflow.trace_id": event.trace_id, "penguiflow.attempt": event.attempt}
    if event.node_name is not None:
        attributes["penguiflow.node"] = event.node_name
    for name, attribute in _OF_REMOTE.items():
        if isinstance(value := event.extra.get(name), str | int | float):
            attributes[attribute] = value
    return attributes
