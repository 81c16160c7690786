"""The flow: nodes that are connected, started, and asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping, Sequence
from typing import Any, Self

from penguiflow._bounds import invalid_bound
from penguiflow._routing import check_policy
from penguiflow._runtime.admission import admit, admit_nowait, admitted, require_open
from penguiflow._runtime.events import Listener
from penguiflow._runtime.graph import Graph
from penguiflow._runtime.journal import Journal
from penguiflow._runtime.kinds import KINDS, MESSAGE, kind_of
from penguiflow._runtime.resume import resume as resume_trace
from penguiflow._runtime.rookery import Rookery
from penguiflow._runtime.run import Run
from penguiflow._runtime.runtime import Runtime
from penguiflow._runtime.station import Station
from penguiflow._runtime.trace import Cancellation, Trace
from penguiflow.bus import MessageBus
from penguiflow.errors import FlowDefinitionError, FlowStopped, NotRunning
from penguiflow.metrics import FlowEvent
from penguiflow.node import Adjacency, Node
from penguiflow.policies import PolicyLike
from penguiflow.registry import ModelRegistry
from penguiflow.state import JournalStore, StateStore
from penguiflow.types import Message, Payload, new_trace_id

__all__ = ["PenguiFlow", "Running", "create"]


class PenguiFlow:
    """A graph of nodes that runs traces through them, many at once.

    ```python
    flow = PenguiFlow(triage.to(retrieve), retrieve.to(answer))
    async with flow:
        print(await flow.ask("How does a trace end?"))
    ```

    A flow belongs to the event loop it was started in; it may be started again once it has stopped.

    Raises:
        FlowDefinitionError: two nodes share a name, a bound is not positive, or something else is not usable.
        CycleError: the nodes form a loop that nothing allows.
    """

    def __init__(
        self,
        *adjacencies: Adjacency | Node,
        name: str = "flow",
        version: str = "1",
        queue_maxsize: int = 64,
        allow_cycles: bool = False,
        middlewares: Sequence[Listener] | None = None,
        on_event: Callable[[FlowEvent], None] | None = None,
        emit_errors_to_rookery: bool = False,
        state_store: StateStore | None = None,
        message_bus: MessageBus | None = None,
    ) -> None:
        if isinstance(queue_maxsize, bool) or not isinstance(queue_maxsize, int) or queue_maxsize < 1:
            raise invalid_bound("queue_maxsize", queue_maxsize, "a whole number of messages, at least 1")
        self.name = name
        self.version = version
        self.graph = Graph(adjacencies, allow_cycles=allow_cycles)
        self._queue_maxsize = queue_maxsize
        self._listeners: list[Listener] = []
        for listener in (*(middlewares or ()), *(() if on_event is None else (on_event,))):
            self._listen(listener)
        self._errors_as_values = emit_errors_to_rookery
        self._state_store = state_store
        self._message_bus = message_bus
        self._runtime: Runtime | None = None
        self._rookery: Rookery | None = None
        self._stopped: asyncio.Event | None = None

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes by name, in the order in which they were connected."""
        return self.graph.nodes

    @property
    def running(self) -> bool:
        """Whether the flow was started and has not stopped."""
        return self._runtime is not None

    @property
    def active_traces(self) -> list[str]:
        """Ids of the traces that have not ended."""
        return [] if self._runtime is None else list({run.trace_id: None for run in self._runtime.active.values()})

    @property
    def events_dropped(self) -> int:
        """How many events slow listeners have lost since the flow was started."""
        return 0 if self._runtime is None or self._runtime.events is None else self._runtime.events.dropped

    def add_middleware(self, middleware: Listener) -> None:
        """Tell `middleware`, a plain or async function of a `FlowEvent`, of every event from now on."""
        self._listen(middleware)
        if self._runtime is not None:
            self._runtime.listen(self._listeners)

    def _listen(self, listener: Listener) -> None:
        if not callable(listener):
            raise FlowDefinitionError(f"a middleware is a function of a FlowEvent, not {listener!r}")
        self._listeners.append(listener)

    def run(
        self,
        registry: ModelRegistry | None = None,
        *,
        nodes: Collection[str] | None = None,
        policies: Mapping[str, PolicyLike] | None = None,
        state_store: StateStore | None = None,
        message_bus: MessageBus | None = None,
        lease_s: float = 30.0,
        resume: bool = True,
    ) -> Running:
        """Start the flow at once; what is returned may be awaited, or used with `async with` to stop it at the end.

        `registry` gives the models that nodes are validated against; `policies` decides for routers, by their name.

        With a `state_store` that is a `JournalStore`, each step is recorded before what it sends leaves, and a trace
        whose process died is taken up again by any process that runs the flow on the same store: after `lease_s`
        seconds, or at once where its process was on this machine. `resume=False` leaves them alone. `nodes` says
        which nodes this process runs, all by default; the others run in processes that share the `message_bus`.

        Raises:
            FlowDefinitionError: the flow runs already, a node lacks its models, a policy names no router, or nodes
                are left out and there is no bus or no journal to reach them by.
        """
        if self._runtime is not None and not self._runtime.loop.is_closed():
            raise FlowDefinitionError(f"flow {self.name!r} runs already; stop it first, or build a second one")
        if registry is not None and not isinstance(registry, ModelRegistry):
            raise FlowDefinitionError(f"run() takes a ModelRegistry, not {registry!r}")
        store = state_store if state_store is not None else self._state_store
        bus = message_bus if message_bus is not None else self._message_bus
        for name, given, protocol in (("state_store", store, StateStore), ("message_bus", bus, MessageBus)):
            if given is not None and not isinstance(given, protocol):
                raise FlowDefinitionError(f"{name} is {given!r}, which lacks a method of {protocol.__name__}")
        if not lease_s > 0:
            raise invalid_bound("lease_s", lease_s, "a positive number of seconds")
        here = self._check_nodes(nodes, store, bus)
        for router, policy in (policies or {}).items():
            if router not in self.nodes or self.nodes[router].kind != "router":
                raise FlowDefinitionError(f"policies name {router!r}, which is no router of flow {self.name!r}")
            check_policy(policy, router)
        self._require_loop("run()")
        self._runtime = Runtime(
            self.graph,
            queue_maxsize=self._queue_maxsize,
            registry=registry,
            policies=dict(policies or {}),
            state_store=store,
            errors_as_values=self._errors_as_values,
            here=here,
        )
        self._rookery = self._runtime.rookery
        if isinstance(store, JournalStore):
            self._runtime.keep_journal(
                Journal(
                    self._runtime,
                    store,
                    self.graph,
                    registry,
                    flow=self.name,
                    version=self.version,
                    lease_s=lease_s,
                    resume=resume,
                    bus=bus,
                )
            )
        self._runtime.start(self._listeners, None)
        return Running(self)

    async def stop(self, *, drain: bool = True, timeout_s: float | None = None) -> None:
        """Stop the flow; without effect if it does not run.

        With `drain`, no further trace is accepted and those at work are finished first, for at most `timeout_s`
        seconds. Without, or after that, they are ended, and whoever awaits them gets `FlowStopped`. Values of
        emitted traces that nobody has fetched yet can still be fetched.
        """
        runtime = self._runtime
        if runtime is None:
            return
        if asyncio.current_task() in runtime.workers:
            raise FlowDefinitionError("stop() was called by a node of the flow, which would wait for itself")
        if self._stopped is not None:
            await self._join_stop(runtime, self._stopped, timeout_s if drain else 0.0)
            return
        self._stopped = asyncio.Event()
        try:
            await runtime.stop(drain=drain, timeout_s=timeout_s)
        finally:
            self._runtime = None
            self._stopped.set()
            self._stopped = None

    async def _join_stop(self, runtime: Runtime, stopped: asyncio.Event, timeout_s: float | None) -> None:
        """Wait for a stop that is under way, and end what is still at work after `timeout_s` seconds."""
        if timeout_s != 0.0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await stopped.wait()
        runtime.end_all()
        await stopped.wait()

    async def submit(self, msg: Payload, *, to: Node | str | Sequence[Node | str] | None = None) -> Trace:
        """Start a trace with a message, waiting for admission, and return its handle.

        The message goes to every entry node, or to the nodes in `to`. A `Message` brings its trace id, deadline and
        priority; a bare payload gets a fresh id. Cancelled while it waits, nothing was submitted.

        Raises:
            TraceActive: the message's trace id is in use.
            FlowStopped: the flow is stopping.
            NotRunning: the flow was not started.
        """
        runtime = self._runtime
        if runtime is None or not runtime.accepting:
            runtime = self._require_running("submit()")
        if runtime.store is not None and runtime.store.congested:
            await runtime.store.wait_for_room()
            runtime = self._require_running("submit()")
        entries = runtime.entries if to is None else self._choose(runtime, to)
        if runtime.journal is not None:
            _require_own_loop(runtime)
            return Trace(await runtime.journal.submit(msg, entries))
        run = _open(runtime, msg, emitted=False)
        waiting = admit_nowait(run, msg, entries)
        if waiting:
            await admitted(run, waiting)
        return Trace(run)

    def submit_nowait(self, msg: Payload, *, to: Node | str | Sequence[Node | str] | None = None) -> Trace:
        """Start a trace as `submit` does, or not at all.

        Raises:
            QueueFull: an entry node has `queue_maxsize` messages waiting; nothing was submitted.
            TraceActive: the message's trace id is in use.
        """
        runtime = self._require_running("submit_nowait()")
        entries = runtime.entries if to is None else self._choose(runtime, to)
        require_open(entries, msg.trace_id if isinstance(msg, Message) else None)
        if runtime.journal is not None:
            _require_own_loop(runtime)
            return Trace(runtime.journal.submit_nowait(msg, entries))
        run = _open(runtime, msg, emitted=False)
        admit_nowait(run, msg, entries)
        return Trace(run)

    async def ask(self, msg: Payload, *, to: Node | str | Sequence[Node | str] | None = None) -> Payload:
        """Submit a message and return the trace's only value. Cancelled, it cancels the trace.

        Raises:
            FlowError: the trace failed, or gave more than one value.
        """
        async with await self.submit(msg, to=to) as trace:
            return await trace.result()

    def ask_sync(self, msg: Payload, *, registry: ModelRegistry | None = None) -> Payload:
        """Start the flow, ask it one thing and stop it: for scripts, where no event loop runs.

        Raises:
            FlowDefinitionError: an event loop runs already; use `await flow.ask(msg)` there.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self._ask_once(msg, registry))
        raise FlowDefinitionError("ask_sync() was called inside an event loop; use 'await flow.ask(msg)' there")

    async def _ask_once(self, msg: Payload, registry: ModelRegistry | None) -> Payload:
        async with self.run(registry):
            return await self.ask(msg)

    async def emit(self, msg: Payload, to: Node | str | Sequence[Node | str] | None = None) -> None:
        """Send a message in whose values `fetch()` returns. Messages with the id of an emitted trace join that trace.

        Waits for room at the entry nodes, and while too many values wait to be fetched.

        Raises:
            TraceActive: the message's trace id is that of a submitted trace.
        """
        runtime = self._require_running("emit()")
        self._require_every_node(runtime, "emit()")
        if runtime.rookery.congested:
            await runtime.rookery.wait_for_room()
        if runtime.store is not None and runtime.store.congested:
            await runtime.store.wait_for_room()
        runtime = self._require_running("emit()")
        entries = runtime.entries if to is None else self._choose(runtime, to)
        run = _open(runtime, msg, emitted=True)
        await admit(run, msg, entries)

    def emit_nowait(self, msg: Payload, to: Node | str | Sequence[Node | str] | None = None) -> None:
        """Send a message in as `emit` does, or not at all.

        Raises:
            QueueFull: an entry node has `queue_maxsize` messages waiting; nothing was sent.
        """
        runtime = self._require_running("emit_nowait()")
        self._require_every_node(runtime, "emit_nowait()")
        entries = runtime.entries if to is None else self._choose(runtime, to)
        require_open(entries, msg.trace_id if isinstance(msg, Message) else None)
        admit_nowait(_open(runtime, msg, emitted=True), msg, entries)

    async def fetch(self, *, timeout_s: float | None = None) -> Payload:
        """Return the next value of an emitted trace. Cancelled or timed out, it loses nothing.

        Raises:
            FlowError: an emitted trace failed (with `emit_errors_to_rookery` it is returned as a value instead).
            FlowStopped: the flow has stopped and all its values are fetched.
            TimeoutError: nothing arrived within `timeout_s` seconds.
        """
        if self._rookery is None:
            raise NotRunning(self.name, "fetch()")
        return await self._rookery.fetch(timeout_s=timeout_s)

    def cancel(self, trace_id: str) -> Cancellation:
        """Cancel one trace; false if none with this id is active. Other traces go on.

        When this returns, the trace has ended: whoever awaits it gets `TraceCancelled`, its queued work is gone, its
        running nodes, subflows and remote calls have been cancelled, and the id may be used again. Await what is
        returned to wait for those nodes to have unwound.
        """
        runtime = self._require_running("cancel()", stopping=True)
        run = runtime.active.get(trace_id)
        if run is None:
            journal = runtime.journal
            return Cancellation(False, None if journal is None else journal.spawn(journal.cancel(trace_id)))
        if run.done:
            # It has ended already, and the store is being told.
            return Cancellation(False)
        return Cancellation(True, runtime.cancel(run))

    async def resume(self, trace_id: str, *, force: bool = False) -> Trace:
        """Go on with a trace whose process has died, from what is recorded of it, and return its handle.

        Nodes whose step is recorded do not run again; those that were running do, with the same idempotency key,
        unless their policy is `on_interrupted="fail"`. A trace that has ended is returned as it ended. One that
        another process may still hold is waited for as long as its lease lasts; `force` takes it over at once: that
        process can then write nothing more for it.

        Raises:
            TraceUnknown: the store knows no such trace.
            TraceActive: another process works on it.
            GraphChanged: it was begun by a flow of another shape.
        """
        return Trace(await resume_trace(self._require_journal("resume()"), trace_id, force=force))

    async def attach(self, trace_id: str) -> Trace:
        """Return the handle of a trace that was submitted anywhere, to await it or to cancel it.

        Chunks go to the process that submitted or resumed it.

        Raises:
            TraceUnknown: the store knows no such trace.
        """
        return Trace(await self._require_journal("attach()").attach(trace_id))

    def _require_every_node(self, runtime: Runtime, operation: str) -> None:
        if runtime.journal is not None and runtime.journal.crosses:
            raise FlowDefinitionError(
                f"{operation} and fetch() stay in one process, and some nodes of the flow run elsewhere; use submit()"
            )

    def _require_journal(self, operation: str) -> Journal:
        journal = self._require_running(operation).journal
        if journal is None:
            raise FlowDefinitionError(
                f"{operation} needs a state store with a journal (penguiflow.state.JournalStore): pass one to run()"
            )
        return journal

    async def borrow(self, caller: Runtime, registry: ModelRegistry | None) -> Runtime:
        """Take the flow as a playbook, to be given back by `give_back`.

        It is started where it does not run, once for all calls that have it at the same time; its events go to that
        caller's listeners where it has none.
        """
        while self._stopped is not None and self._runtime is not None and self._runtime.lent is not None:
            await self._stopped.wait()
        if self._runtime is None:
            self.run(registry)
            assert self._runtime is not None
            self._runtime.lent = 0
            if self._runtime.events is None:
                self._runtime.start([], caller.events)
        if self._runtime.lent is not None:
            self._runtime.lent += 1
        return self._runtime

    async def give_back(self, runtime: Runtime) -> None:
        """Give a playbook back; the last of the calls for which it was started stops it."""
        if runtime.lent is None:
            return
        runtime.lent -= 1
        if not runtime.lent:
            # The calling node may be unwinding; the subflow still gets its time to do the same.
            await asyncio.shield(asyncio.ensure_future(self._stop_unlent(runtime)))

    async def _stop_unlent(self, runtime: Runtime) -> None:
        # Another call may have come for it since.
        if not runtime.lent and runtime is self._runtime:
            await self.stop(drain=False)

    def open_child(self, parent: Run, value: Payload) -> Run:
        """Begin the run of a playbook."""
        return self._require_running("call_playbook()").open_child(parent, value)

    async def __aenter__(self) -> Self:
        if self._runtime is None:
            self.run()
        return self

    async def __aexit__(self, exc_type: object, *exc_info: object) -> None:
        await self.stop(drain=exc_type is None)

    def __repr__(self) -> str:
        return f"<PenguiFlow {self.name!r}: {', '.join(self.nodes)}>"

    def _require_running(self, operation: str, *, stopping: bool = False) -> Runtime:
        runtime = self._runtime
        if runtime is None:
            raise NotRunning(self.name, operation)
        if not runtime.accepting and not stopping:
            raise FlowStopped(None, f"flow {self.name!r} is stopping and accepts no further messages")
        return runtime

    def _require_loop(self, operation: str) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise FlowDefinitionError(
                f"{operation} needs a running event loop: call it from async code, or use flow.ask_sync(msg)"
            ) from None

    def _check_nodes(
        self, nodes: Collection[str] | None, store: StateStore | None, bus: MessageBus | None
    ) -> frozenset[str]:
        """Return the nodes that run here.

        Raises:
            FlowDefinitionError: some are left out, and nothing leads to those.
        """
        here = frozenset(self.nodes if nodes is None else self.graph.entry_names(nodes))
        left_out = [name for name in self.nodes if name not in here]
        for wanted, found in (("message_bus", bus), ("state_store", store)):
            if left_out and found is None:
                raise FlowDefinitionError(
                    f"nodes={sorted(here)} leaves out {left_out}, which other processes run, and there is no {wanted} "
                    f"to reach them by; pass {wanted}=..., or leave nodes out to run every node here"
                )
        if left_out and not isinstance(store, JournalStore):
            raise FlowDefinitionError(
                f"nodes={sorted(here)} leaves out {left_out}: a flow that crosses processes needs a state store with a "
                f'journal (penguiflow.state.JournalStore), and {store!r} is none: pip install "penguiflow[state]"'
            )
        return here

    def _choose(self, runtime: Runtime, to: Node | str | Sequence[Node | str]) -> list[Station]:
        wanted = [to] if isinstance(to, Node | str) else to
        names = [node.name if isinstance(node, Node) else node for node in wanted]
        if not names:
            raise FlowDefinitionError("to=[] names no node; name one, or leave it out for every entry node")
        return runtime.choose_entries(self.graph.entry_names(names))


class Running(Awaitable[PenguiFlow]):
    """A flow that was started: await it for the flow, or leave it by `async with` to stop it."""

    def __init__(self, flow: PenguiFlow) -> None:
        self._flow = flow

    def __await__(self) -> Generator[Any, None, PenguiFlow]:
        yield from ()
        return self._flow

    async def __aenter__(self) -> PenguiFlow:
        return self._flow

    async def __aexit__(self, exc_type: object, *exc_info: object) -> None:
        await self._flow.stop(drain=exc_type is None)


def create(*adjacencies: Adjacency | Node, **options: Any) -> PenguiFlow:
    """Build a flow; `options` are those of `PenguiFlow`."""
    return PenguiFlow(*adjacencies, **options)


def _open(runtime: Runtime, msg: Payload, *, emitted: bool) -> Run:
    _require_own_loop(runtime)
    if (KINDS.get(type(msg)) or kind_of(msg)) is not MESSAGE:
        # A fresh id is nobody else's, so it needs no look.
        trace_id = new_trace_id()
        run = runtime.active[trace_id] = Run(runtime, trace_id, None, emitted=emitted)
        return run
    active = runtime.active.get(msg.trace_id)
    if active is not None and active.emitted and emitted:
        return active
    return runtime.open_run(msg.trace_id, msg, emitted=emitted)


def _require_own_loop(runtime: Runtime) -> None:
    if runtime.loop is not asyncio.get_running_loop():
        raise FlowDefinitionError(
            "the flow runs in another event loop; hand the message over with asyncio.run_coroutine_threadsafe(...)"
        )
