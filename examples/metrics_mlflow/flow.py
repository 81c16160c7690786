"""Logs how long each node takes to MLflow, in a directory of files: `flow.py --store DIRECTORY`."""

import argparse
import asyncio
import functools
import os
import sys
from collections import Counter
from pathlib import Path

# Read by MLflow when it is imported: files are enough for one machine, and nothing is to be sent anywhere.
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import anyio
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from penguiflow import Context, FlowError, FlowEvent, Node, NodePolicy, PenguiFlow, create, viz

BATCH = 100


class MlflowMetrics:
    """Listens to the events of a flow, and logs them to a run in batches.

    An async middleware may take its time: events wait for it in a bounded queue, and messages do not.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._steps: Counter[str] = Counter()
        self._batch: list[Metric] = []

    async def __call__(self, event: FlowEvent) -> None:
        if event.event_type not in ("node_end", "node_error"):
            return
        name = f"{event.node_name}.{event.event_type}_ms"
        metric = Metric(name, event.latency_ms or 0.0, timestamp=int(event.ts * 1000), step=self._steps[name])
        self._steps[name] += 1
        self._batch.append(metric)
        if len(self._batch) >= BATCH:
            await self.flush()

    async def flush(self) -> None:
        """Log what has not been logged."""
        batch, self._batch = self._batch, []
        await anyio.to_thread.run_sync(functools.partial(self._client.log_batch, self._run_id, metrics=batch))


async def receive(text: str, ctx: Context) -> str:
    return text.strip()


async def translate(text: str, ctx: Context) -> str:
    """Stand in for a model: it is busy at first where a text begins with a vowel."""
    await asyncio.sleep(0.002 * len(text))
    if not text:
        raise ValueError("there is nothing to translate")
    if text[0] in "aeiou" and ctx.attempt == 0:
        raise RuntimeError("the model is busy")
    return text[::-1]


def build_flow() -> PenguiFlow:
    return create(Node(receive).to(Node(translate, policy=NodePolicy(max_retries=1, backoff_base=0.01))))


async def run(texts: list[str], client: MlflowClient, run_id: str) -> None:
    flow = build_flow()
    metrics = MlflowMetrics(client, run_id)
    flow.add_middleware(metrics)
    try:
        async with flow:
            for text in texts:
                print(await flow.ask(text))
    finally:
        # Every event was told before the flow had stopped.
        await metrics.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="Log the events of a flow to MLflow.")
    parser.add_argument("texts", nargs="*", default=["penguin", "egg", "krill", "ice", "floe"])
    parser.add_argument("--store", type=Path, default=Path(__file__).parent / "mlruns")
    arguments = parser.parse_args()
    try:
        client = MlflowClient(tracking_uri=arguments.store.resolve().as_uri())
        experiment = client.get_experiment_by_name("translate")
        experiment_id = experiment.experiment_id if experiment else client.create_experiment("translate")
    except (MlflowException, OSError) as error:
        print(f"{arguments.store} is not usable as a store: {error}", file=sys.stderr)
        return 1
    run_id = client.create_run(experiment_id).info.run_id
    client.log_param(run_id, "texts", len(arguments.texts))
    client.log_text(run_id, viz.to_mermaid(build_flow()), "flow.mermaid")
    failure = None
    try:
        asyncio.run(run(arguments.texts, client, run_id))
    except FlowError as error:
        failure = error
        print(error, file=sys.stderr)
    client.set_terminated(run_id, "FAILED" if failure else "FINISHED")
    print(f"logged as run {run_id} in {arguments.store}", file=sys.stderr)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
