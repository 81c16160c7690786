"""What an invocation emits under a journal: held back until it is recorded, then sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penguiflow._runtime.budgets import take_hop
from penguiflow._runtime.codec import Codec, encode_value
from penguiflow._runtime.context import Context
from penguiflow._runtime.delivery import adopt, rewrap
from penguiflow._runtime.kinds import CHUNK, FINAL, MESSAGE, WORKING, kind_of, payload_kind
from penguiflow._runtime.origin import message_id
from penguiflow._runtime.station import Edge, Station
from penguiflow._runtime.validation import validation_failed
from penguiflow.errors import FlowError, FlowErrorCode
from penguiflow.state import Step, TraceValue
from penguiflow.types import Json, Message, Payload

if TYPE_CHECKING:
    from penguiflow._runtime.run import Run
    from penguiflow._runtime.unit import Unit

__all__ = ["EMITS_CAP", "HeldContext", "Outbox", "Sent", "restore"]

EMITS_CAP = 10_000
"""How many messages one invocation may emit under a journal: all of them are held until the node returns."""

_BUDGET = "budget"


@dataclass(slots=True)
class Sent:
    """One message on its way to a successor."""

    edge: Edge
    value: Payload
    index: int
    """Which emission of the invocation it is."""
    encoded: Json


@dataclass(slots=True)
class Outbox:
    """What one invocation came to: messages for successors and values for the trace, in order."""

    step: Step | None
    """None where nothing is to be recorded."""
    messages: list[Sent] = field(default_factory=list)
    values: list[tuple[str, Payload]] = field(default_factory=list)
    targets: list[list[str]] = field(default_factory=list)
    """Where each emission goes, for listeners."""
    replayed: bool = False
    """Whether it was read back from a record: then the node did not run now."""


class HeldContext(Context):
    """The context of a node under a journal: emissions are kept, and leave once the node has returned.

    So a node that fails half-way has sent nothing, and one that runs again after a crash sends nothing twice. Chunks
    go out at once; they are no values.
    """

    __slots__ = ("_absorbed", "_base", "_closed", "_held", "_taken", "_unit")

    def __init__(self, base: Context, unit: Unit) -> None:
        super().__init__(base._run, base._station, base._value, base._hop, base._origin)
        self._attempt = base._attempt
        self._started = base._started
        self._base = base
        self._unit = unit
        self._absorbed = False
        """Whether the message has become a part of a join that waits for more: the join's record is enough."""
        self._held: list[tuple[Payload, Sequence[Edge] | None]] = []
        self._taken: list[str] = []
        """Ids of messages that the node has fetched."""
        self._closed = False

    def _send(self, value: Payload, edges: Sequence[Edge] | None) -> None:
        run, name = self._run, self._station.name
        if run.done:
            raise run.ended_error(name)
        if self._closed:
            message = "the node has returned, so nothing more can be emitted by it; await background work inside it"
            raise FlowError(run.trace_id, name, FlowErrorCode.TRACE_ENDED, message)
        if edges is None and kind_of(value) is CHUNK:
            run.open_chunks().put_nowait(value)
            return
        if len(self._held) >= EMITS_CAP:
            message = f"the node emitted more than {EMITS_CAP} messages in one call; split the work, or stream chunks"
            raise FlowError(run.trace_id, name, FlowErrorCode.QUEUE_OVERFLOW, message)
        self._held.append((value, edges))

    async def _send_and_wait(self, value: Payload, edges: Sequence[Edge] | None) -> None:
        self._send(value, edges)

    def _send_at_once(self, value: Payload, edges: Sequence[Edge] | None) -> None:
        self._send(value, edges)

    def _note_taken(self, taken: Context) -> None:
        self._taken.append(message_id(self._run.trace_id, self._station.name, taken._origin).hex())

    def _is_running(self) -> bool:
        return self._base._is_running()

    async def _collect(self, message: Payload, *, need: int, emit_incomplete: bool) -> list[Payload] | None:
        parts = await self._unit.collect(self._base, message, need)
        self._absorbed = parts is None
        return parts

    def close(self, returned: Payload) -> Outbox:
        """Turn what was emitted, and what the node returned, into what is recorded and sent.

        Raises:
            NotSerialisable: something of it cannot be written down.
            ValidationFailed: what the node returned does not fit its model.
        """
        self._closed = True
        if self._absorbed:
            return Outbox(None)
        if returned is not None:
            returned = self._checked(returned)
            self._held.append((returned, None))
        # Ids go on from here: what they begin with is the same in every process.
        own = message_id(self._run.trace_id, self._station.name, self._origin)
        packing = _Packing(self, own)
        for value, edges in self._held:
            packing.add(value, edges)
        return packing.outbox()

    def _checked(self, returned: Payload) -> Payload:
        check = self._station.check_out
        if check is None:
            return returned
        try:
            return check(rewrap(self, returned))
        except Exception as error:
            raise validation_failed(self._run.trace_id, self._station.name, "out", error) from error


class _Packing:
    """Works out where each emission goes, as `send` does without a journal, and writes it down."""

    def __init__(self, ctx: HeldContext, own: bytes) -> None:
        self._ctx = ctx
        self._own = own
        self._run: Run = ctx._run
        self._station: Station = ctx._station
        self._messages: list[Sent] = []
        self._values: list[tuple[str, str, Payload]] = []
        self._targets: list[list[str]] = []
        self._sent = 0

    def add(self, value: Payload, to: Sequence[Edge] | None) -> None:
        """Add one emission."""
        kind = kind_of(value)
        if self._station.unwraps and kind is not MESSAGE and kind is not CHUNK:
            value = rewrap(self._ctx, value)
            kind = kind_of(value)
        if kind is MESSAGE:
            value = adopt(self._ctx, value)
            kind = payload_kind(value)
        if kind is CHUNK and to is None:
            self._run.open_chunks().put_nowait(value)
            return
        edges = self._station.edges if to is None else to
        self._targets.append([edge.station.name for edge in edges])
        index = self._sent
        self._sent += 1
        if not edges or (kind is FINAL and to is None):
            self._values.append((f"{self._own.hex()}:{index}", self._station.name, value))
            return
        fork = len(edges) > 1 and isinstance(value, Message) and bool(value.meta)
        for edge in edges:
            sent = value
            if edge.closing and kind is WORKING:
                sent = take_hop(self._run, self._station, value, self._give_budget)
                if sent is None:
                    continue
            elif fork:
                sent = value.model_copy(update={"meta": dict(value.meta)})
            self._messages.append(Sent(edge, sent, index, self._encode(sent)))

    def _give_budget(self, exit_name: str, answer: Payload) -> None:
        # One a trace, whichever process spends the budget.
        self._values.append((_BUDGET, exit_name, answer))

    def _encode(self, value: Payload) -> Json:
        return encode_value(value, trace_id=self._run.trace_id, node_name=self._station.name)

    def outbox(self) -> Outbox:
        """Return all of it."""
        values = [TraceValue(value_id, name, self._encode(value)) for value_id, name, value in self._values]
        step = Step(
            message_id=self._own.hex(),
            node_name=self._station.name,
            outputs=[{"to": sent.edge.station.name, "i": sent.index, "v": sent.encoded} for sent in self._messages],
            produced=len(self._messages),
            values=values,
            consumed=tuple(self._ctx._taken),
        )
        return Outbox(step, self._messages, [(name, value) for _, name, value in self._values], self._targets)


def restore(step: Step, ctx: Context, codec: Codec) -> Outbox:
    """Return what a recorded step has to send, read back from its record.

    Raises:
        FlowError: it does not fit the flow any more.
    """
    station, trace_id = ctx._station, ctx._run.trace_id
    edges = {edge.station.name: edge for edge in station.edges}
    messages = []
    for output in _each(step.outputs):
        target = output["to"]
        value = codec.decode(output["v"], source=station.name, target=target, trace_id=trace_id)
        messages.append(Sent(edges[target], value, output["i"], output["v"]))
    values = []
    for value in step.values:
        if value.value_id == _BUDGET:
            ctx._run.budget_spent = True
        decoded = codec.decode(value.value, source=value.exit_name, target=None, trace_id=trace_id)
        values.append((value.exit_name, decoded))
    return Outbox(step, messages, values, replayed=True)


def _each(outputs: Any) -> Iterator[dict[str, Any]]:
    yield from outputs or ()
