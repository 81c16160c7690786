"""The engine's side: runs in a process of its own, and does what it is told over a pipe."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from harness.workload import BLOCK_TOKENS, Answer, Ask

IDLE_S = 20.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How an engine is started."""

    model: str
    connector: dict[str, Any] | None = None
    """The arguments of vLLM's `KVTransferConfig`."""
    blocks: int | None = None
    """How many blocks of KV cache it has."""
    prefill_tokens: int = 256
    """The most tokens a step computes; longer prompts are computed in chunks."""
    max_seqs: int = 24
    more: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Further arguments of vLLM's `EngineArgs`."""
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kill:
    """A SIGKILL in the middle of a run."""

    pid: int | None
    """Whom it hits; None for the engine itself."""
    step: int
    delay_s: float
    """After the step has begun, so that it falls anywhere in it."""

    def arm(self) -> threading.Timer:
        """Start the clock."""
        timer = threading.Timer(self.delay_s, os.kill, (self.pid or os.getpid(), signal.SIGKILL))
        timer.start()
        return timer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What came of some requests, and what the engine counted meanwhile."""

    answers: dict[str, Answer]
    counts: dict[str, int]
    """`preemptions`, `connector_queries`, `connector_hits` and `local_hits` (tokens), `failed`, `most_running`, …"""
    free_blocks: int
    total_blocks: int
    elapsed_s: float

    @property
    def is_clean(self) -> bool:
        """Whether every block of the KV cache came back."""
        return self.free_blocks == self.total_blocks


class ServedEngine:
    """An engine of vLLM that lives in this process."""

    def __init__(self, options: Options) -> None:
        from vllm.config import KVTransferConfig
        from vllm.engine.arg_utils import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine
        from vllm.v1.metrics.loggers import StatLoggerBase

        counts: Counter[str] = Counter()

        class Counting(StatLoggerBase):  # type: ignore[misc]
            def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
                pass

            def record(self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any) -> None:
                count_step(counts, scheduler_stats, iteration_stats)

            def log_engine_initialized(self) -> None:
                pass

        arguments: dict[str, Any] = {
            "model": options.model,
            "dtype": "float32",
            "enforce_eager": True,
            "seed": 0,
            "block_size": BLOCK_TOKENS,
            "num_gpu_blocks_override": options.blocks,
            "max_model_len": 512,
            "max_num_seqs": options.max_seqs,
            "max_num_batched_tokens": options.prefill_tokens,
            "disable_log_stats": False,
        } | options.more
        if options.connector is not None:
            arguments["kv_transfer_config"] = KVTransferConfig(**options.connector)
        config = EngineArgs(**arguments).create_engine_config()
        from vllm.v1.executor import Executor

        self.counts = counts
        self.engine = LLMEngine(config, Executor.get_class(config), log_stats=True, stat_loggers=[Counting])
        self.core = self.engine.engine_core.engine_core
        self.start_blocks = self.free_blocks()

    def free_blocks(self) -> int:
        """Count the blocks that no request holds."""
        return int(self.core.scheduler.kv_cache_manager.block_pool.get_num_free_blocks())

    def run(self, asks: Sequence[Ask], concurrency: int = 24, kills: Sequence[Kill] = ()) -> Report:
        """Answer everything, `concurrency` at a time, then step until the engine is idle."""
        self.counts.clear()
        begun = time.perf_counter()
        waiting, answers, timers = list(reversed(asks)), {}, []
        open_asks: dict[str, tuple[Ask, int]] = {}
        partial: dict[str, Answer] = {}
        step = 0
        while waiting or open_asks:
            timers += [kill.arm() for kill in kills if kill.step == step]
            while waiting and len(open_asks) < concurrency:
                ask = waiting.pop()
                open_asks[ask.name] = (ask, step)
                self._add(ask)
            self.counts["most_running"] = max(self.counts["most_running"], len(self.core.scheduler.running))
            for name in self._abort(open_asks, step):
                answers[name] = dataclasses.replace(partial.get(name, _EMPTY), is_whole=False)
            for output in self.engine.step() if open_asks else ():
                partial[output.request_id] = _answer(output)
                if output.finished and open_asks.pop(output.request_id, None):
                    self.counts["failed"] += output.outputs[0].finish_reason not in ("length", "stop")
                    answers[output.request_id] = partial[output.request_id]
            step += 1
        # Those meant for later steps than there were.
        timers += [kill.arm() for kill in kills if kill.step >= step]
        for timer in timers:
            timer.join()
        self.settle()
        return Report(
            answers=answers,
            counts=dict(self.counts),
            free_blocks=self.free_blocks(),
            total_blocks=self.start_blocks,
            elapsed_s=time.perf_counter() - begun,
        )

    def _abort(self, open_asks: dict[str, tuple[Ask, int]], step: int) -> list[str]:
        """Give up what is to be given up by now."""
        over = [
            name
            for name, (ask, since) in open_asks.items()
            if ask.abort_after is not None and step - since >= ask.abort_after
        ]
        for name in over:
            self.engine.abort_request([name])
            del open_asks[name]
        return over

    def settle(self) -> None:
        """Step until nothing is left to do and every block is back, for so long at most."""
        end = time.monotonic() + IDLE_S
        while time.monotonic() < end:
            if not self.core.scheduler.has_requests() and self.free_blocks() == self.start_blocks:
                return
            self.engine.step()

    def _add(self, ask: Ask) -> None:
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        adapter = None if ask.adapter is None else LoRARequest(ask.adapter.name, ask.adapter.number, ask.adapter.path)
        extra = None if ask.params is None else {"kv_transfer_params": ask.params}
        params = SamplingParams(
            temperature=0, max_tokens=ask.max_tokens, ignore_eos=True, logprobs=2, detokenize=False, extra_args=extra
        )
        prompt: dict[str, Any] = {"prompt_token_ids": list(ask.tokens)}
        if ask.salt is not None:
            prompt["cache_salt"] = ask.salt
        self.engine.add_request(ask.name, prompt, params, lora_request=adapter)


_EMPTY = Answer(tokens=(), gaps=(), is_whole=False)


def count_step(counts: Counter[str], scheduler_stats: Any, iteration_stats: Any) -> None:
    """Add up what vLLM tells of a step."""
    counts["steps"] += 1
    if iteration_stats is not None:
        counts["preemptions"] += iteration_stats.num_preempted_reqs
    if scheduler_stats is None:
        return
    counts["local_hits"] += scheduler_stats.prefix_cache_stats.hits
    connector = scheduler_stats.connector_prefix_cache_stats
    if connector is not None:
        counts["connector_queries"] += connector.queries
        counts["connector_hits"] += connector.hits + connector.preempted_hits
        for source, hits in connector.hits_by_source.items():
            counts[f"hits_{getattr(source, 'value', source)}"] += hits


def _answer(output: Any) -> Answer:
    said = output.outputs[0]
    gaps = []
    for ranked in said.logprobs or ():
        best, second = sorted((entry.logprob for entry in ranked.values()), reverse=True)[:2]
        gaps.append(best - second)
    return Answer(
        tokens=tuple(said.token_ids),
        gaps=tuple(gaps),
        is_whole=bool(output.finished),
        cached_tokens=output.num_cached_tokens or 0,
        params=output.kv_transfer_params,
    )


def serve(options: Options, pipe: Connection) -> None:
    """Start an engine and apply to it every function that comes over the pipe, until None comes."""
    os.environ.update(options.environment)
    try:
        engine = ServedEngine(options)
    except BaseException as error:
        pipe.send((False, f"{type(error).__name__}: {error}"))
        raise
    pipe.send((True, None))
    while (order := pipe.recv()) is not None:
        act, arguments = order
        try:
            pipe.send((True, act(engine, *arguments)))
        except BaseException as error:
            pipe.send((False, f"{type(error).__name__}: {error}"))
            raise
    engine.engine.engine_core.shutdown()
