"""Counts what happens in a flow for Prometheus: `flow.py --port 9100` serves the counts until Ctrl-C."""

import argparse
import asyncio
import sys

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server

from penguiflow import Context, FlowEvent, Node, NodePolicy, PenguiFlow, create


class PrometheusMetrics:
    """Listens to the events of flows. The labels are names of nodes and events, never of traces: those are too many."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter("flow_events", "Events by kind and node", ["event", "node"], registry=registry)
        self._seconds = Histogram("flow_node_seconds", "Time of calls that ended well", ["node"], registry=registry)
        self._waiting = Gauge("flow_queue_depth", "Messages that wait at a node", ["node"], registry=registry)

    def __call__(self, event: FlowEvent) -> None:
        node = event.node_name or ""
        self._events.labels(event.event_type, node).inc()
        if event.event_type == "node_start":
            self._waiting.labels(node).set(event.queue_depth)
        elif event.event_type == "node_end" and event.latency_ms is not None:
            self._seconds.labels(node).observe(event.latency_ms / 1000)


async def receive(number: int, ctx: Context) -> int:
    return number


async def work(number: int, ctx: Context) -> int:
    """Stand in for real work: every fifth message fails once, and every twenty-fifth each time."""
    await asyncio.sleep(0.001)
    if number % 25 == 0 or (number % 5 == 0 and ctx.attempt == 0):
        raise RuntimeError(f"message {number} failed")
    return number


def build_flow() -> PenguiFlow:
    working = Node(work, policy=NodePolicy(max_retries=1, backoff_base=0.01))
    return create(Node(receive).to(working), name="work")


async def run(messages: int, metrics: PrometheusMetrics) -> int:
    """Send the messages through the flow; return how many failed."""
    flow = build_flow()
    flow.add_middleware(metrics)
    async with flow:
        traces = [await flow.submit(number) for number in range(1, messages + 1)]
        outcomes = await asyncio.gather(*(trace.result() for trace in traces), return_exceptions=True)
    return sum(isinstance(outcome, Exception) for outcome in outcomes)


def main() -> int:
    parser = argparse.ArgumentParser(description="Count the events of a flow.")
    parser.add_argument("--messages", type=int, default=50)
    parser.add_argument("--port", type=int, help="serve the metrics there (0: any free port) instead of printing them")
    arguments = parser.parse_args()
    registry = CollectorRegistry()
    failed = asyncio.run(run(arguments.messages, PrometheusMetrics(registry)))
    print(f"{failed} of {arguments.messages} messages failed", file=sys.stderr)
    if arguments.port is None:
        print(generate_latest(registry).decode(), end="")
        return 0
    try:
        server, thread = start_http_server(arguments.port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        print(f"port {arguments.port} cannot be used: {error.strerror}", file=sys.stderr)
        return 1
    print(f"http://127.0.0.1:{server.server_port}/metrics", flush=True)
    try:
        thread.join()
    except KeyboardInterrupt:
        server.shutdown()
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
