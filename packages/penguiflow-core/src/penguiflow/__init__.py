"""Typed, asynchronous agent flows: streaming, cancellation, deadlines, back-pressure."""

from penguiflow._exports import settle_exports as _settle_exports
from penguiflow.bus import Delivery, InProcBus, MessageBus
from penguiflow.core import Cancellation, Context, PenguiFlow, Playbook, Running, Trace, create
from penguiflow.errors import (
    CycleError,
    FlowDefinitionError,
    FlowError,
    FlowErrorCode,
    FlowStopped,
    GraphChanged,
    JoinIncomplete,
    LeaseLost,
    MultipleResults,
    NodeSignatureError,
    NotRunning,
    NotSerialisable,
    QueueFull,
    RemoteFailed,
    TraceActive,
    TraceCancelled,
    TraceOver,
    TraceUnknown,
    UnknownTarget,
    ValidationFailed,
)
from penguiflow.logs import JsonLines
from penguiflow.metrics import FlowEvent
from penguiflow.middlewares import NodeTiming, NodeTimings, RemoteTiming, RemoteTimings, log_flow_events
from penguiflow.node import Adjacency, Node, NodePolicy
from penguiflow.patterns import join_k, map_concurrent, predicate_router, union_router
from penguiflow.policies import DictRoutingPolicy, RoutingPolicy, RoutingRequest
from penguiflow.registry import ModelRegistry
from penguiflow.remote import RemoteNode, RemoteTransport, ResumableTransport
from penguiflow.sinks import ClientEvent, client_events, send_events, sse_events
from penguiflow.state import InMemoryStateStore, RemoteBinding, StateStore, StoredEvent
from penguiflow.testkit import assert_node_sequence, last_trace_id, run_one, simulate_error
from penguiflow.types import (
    WM,
    FinalAnswer,
    Headers,
    Message,
    PlanStep,
    StreamChunk,
    Thought,
    merge_meta,
    set_meta,
)
from penguiflow.viz import to_dot, to_mermaid

__all__ = [
    "WM",
    "Adjacency",
    "Cancellation",
    "ClientEvent",
    "Context",
    "CycleError",
    "Delivery",
    "DictRoutingPolicy",
    "FinalAnswer",
    "FlowDefinitionError",
    "FlowError",
    "FlowErrorCode",
    "FlowEvent",
    "FlowStopped",
    "GraphChanged",
    "Headers",
    "InMemoryStateStore",
    "InProcBus",
    "JoinIncomplete",
    "JsonLines",
    "LeaseLost",
    "Message",
    "MessageBus",
    "ModelRegistry",
    "MultipleResults",
    "Node",
    "NodePolicy",
    "NodeSignatureError",
    "NodeTiming",
    "NodeTimings",
    "NotRunning",
    "NotSerialisable",
    "PenguiFlow",
    "PlanStep",
    "Playbook",
    "QueueFull",
    "RemoteBinding",
    "RemoteFailed",
    "RemoteNode",
    "RemoteTiming",
    "RemoteTimings",
    "RemoteTransport",
    "ResumableTransport",
    "RoutingPolicy",
    "RoutingRequest",
    "Running",
    "StateStore",
    "StoredEvent",
    "StreamChunk",
    "Thought",
    "Trace",
    "TraceActive",
    "TraceCancelled",
    "TraceOver",
    "TraceUnknown",
    "UnknownTarget",
    "ValidationFailed",
    "assert_node_sequence",
    "client_events",
    "create",
    "join_k",
    "last_trace_id",
    "log_flow_events",
    "map_concurrent",
    "merge_meta",
    "predicate_router",
    "run_one",
    "send_events",
    "set_meta",
    "simulate_error",
    "sse_events",
    "to_dot",
    "to_mermaid",
    "union_router",
]

_settle_exports(__name__, globals(), __all__)
