"""An engine of vLLM in a process of its own: one for each contender, all of them alive at once."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from typing import Any, Self

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["vllm.v1.engine.llm_engine", "vllm.engine.arg_utils"])

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_LOGGING_LEVEL=os.environ.get("VLLM_LOGGING_LEVEL", "ERROR"),
    VLLM_CPU_KVCACHE_SPACE=os.environ.get("VLLM_CPU_KVCACHE_SPACE", "2"),
    HF_HUB_OFFLINE="1",
)

BLOCK_TOKENS = 32
_SETTLED_S = 60.0


@dataclasses.dataclass(frozen=True)
class First:
    """The first token of an answer."""

    took_s: float
    cached_tokens: int
    """What was not computed, wherever it came from."""


class Served:
    """The engine's side."""

    def __init__(self, arguments: dict[str, Any], connector: dict[str, Any] | None) -> None:
        from vllm.config import KVTransferConfig
        from vllm.engine.arg_utils import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        more = {} if connector is None else {"kv_transfer_config": KVTransferConfig(**connector)}
        self._engine = LLMEngine.from_engine_args(EngineArgs(**arguments, **more))
        self._scheduler = self._engine.engine_core.engine_core.scheduler
        self._asked = 0

    def first(self, tokens: list[int]) -> First:
        """Answer with one token; what goes on in the background afterwards is not in the time."""
        begun = time.perf_counter()
        self._add(tokens, 1)
        while not (outputs := self._engine.step()):
            pass
        took_s = time.perf_counter() - begun
        self.settle()
        return First(took_s, outputs[0].num_cached_tokens or 0)

    def all(self, prompts: list[list[int]], max_tokens: int) -> float:
        """Answer everything at once; give the seconds until all is said and saved."""
        begun = time.perf_counter()
        for tokens in prompts:
            self._add(tokens, max_tokens)
        while self._engine.has_unfinished_requests():
            self._engine.step()
        self.settle()
        return time.perf_counter() - begun

    def reset(self) -> None:
        """Have vLLM forget what it has computed; the connector's store remains."""
        self.settle()
        assert self._scheduler.reset_prefix_cache(), "blocks are in use"

    def settle(self) -> None:
        """Step until the connector has nothing under way."""
        end = time.monotonic() + _SETTLED_S
        connector = self._scheduler.connector
        while connector is not None and connector.has_pending_push_work():
            assert time.monotonic() < end, "the connector does not come to an end"
            self._engine.step()

    def _add(self, tokens: list[int], max_tokens: int) -> None:
        from vllm import SamplingParams

        self._asked += 1
        params = SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True, detokenize=False)
        self._engine.add_request(str(self._asked), {"prompt_token_ids": tokens}, params)


def _serve(arguments: dict[str, Any], connector: dict[str, Any] | None, pipe: Connection) -> None:
    served = Served(arguments, connector)
    pipe.send(None)
    while (order := pipe.recv()) is not None:
        name, values = order
        pipe.send(getattr(served, name)(*values))


class Contender:
    """The benchmark's side: an engine that is asked."""

    def __init__(self, name: str, arguments: dict[str, Any], connector: dict[str, Any] | None = None) -> None:
        self.name = name
        self._pipe, theirs = _forks.Pipe()
        self._process = _forks.Process(target=_serve, args=(arguments, connector, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def first(self, tokens: list[int]) -> First:
        """Ask for one token."""
        first: First = self._ask("first", tokens)
        return first

    def all_s(self, prompts: list[list[int]], max_tokens: int) -> float:
        """Have everything answered at once."""
        return float(self._ask("all", prompts, max_tokens))

    def reset(self) -> None:
        """Have vLLM's own prefix cache emptied."""
        self._ask("reset")

    def close(self) -> None:
        """End the engine."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, name: str, *values: object) -> Any:
        self._pipe.send((name, values))
        return self._pipe.recv()
