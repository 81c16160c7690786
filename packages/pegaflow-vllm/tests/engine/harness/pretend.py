"""A worker that computes no model: it writes to the KV cache what each token's place in its prompt determines.

So every block has one right content, and each step compares what it finds in the cache, computed, loaded or left from
before, with it. Everything else is vLLM's: scheduler, block pool, and the calls to the connector in their order.
"""

from __future__ import annotations

import dataclasses
import random
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from vllm.distributed.kv_transfer import get_kv_transfer_group, has_kv_transfer_group
from vllm.forward_context import set_forward_context
from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT, KVConnectorOutput, ModelRunnerOutput
from vllm.v1.worker.cpu_worker import CPUWorker
from vllm.v1.worker.kv_connector_model_runner_mixin import KVConnectorModelRunnerMixin

FAILURES = random.Random(0)
"""Draws which loads fail; the test seeds it."""


@dataclasses.dataclass
class Script:
    """What the test has the worker do; it lives in the same process."""

    failing_share: float = 0.0
    """The share of loads that are reported as failed, their blocks overwritten."""
    is_hushed: bool = False
    """Whether those reports are kept back."""
    failed: int = 0
    checked_tokens: int = 0
    scheduler: Any = None


SCRIPT = Script()


@dataclasses.dataclass
class Sequence:
    """What the worker knows of a request."""

    tokens: list[int]
    prompt_length: int
    blocks: list[list[int]]
    values: list[int]
    """What the KV cache holds for each token: it depends on every token up to it, and on the tenant."""

    def extend_values(self, seed: int) -> None:
        value = self.values[-1] if self.values else seed
        for token in self.tokens[len(self.values) :]:
            value = (value * 1_000_003 ^ (token + 1)) & 0x3FFFFFFF
            self.values.append(value)


def tenant_of(request_id: str) -> str:
    """Give the tenant, which the test writes before a slash."""
    return request_id.partition("/")[0]


class WrongBytesError(AssertionError):
    """The KV cache holds for a token what does not belong to it."""


class PretendWorker(CPUWorker):  # type: ignore[misc]
    """Replaces the model of vLLM's CPU worker."""

    def execute_model(self, scheduler_output: Any) -> ModelRunnerOutput:
        """Check what was computed before, write what is computed now, and make up the next tokens."""
        if not hasattr(self, "_sequences"):
            self._sequences: dict[str, Sequence] = {}
            self._find_memory()
        if has_kv_transfer_group():
            get_kv_transfer_group().handle_preemptions(scheduler_output.kv_connector_metadata)
        for name in scheduler_output.finished_req_ids:
            self._sequences.pop(name, None)
        if not scheduler_output.total_num_scheduled_tokens:
            if not has_kv_transfer_group():
                return EMPTY_MODEL_RUNNER_OUTPUT
            output = KVConnectorModelRunnerMixin.kv_connector_no_forward(scheduler_output, self.vllm_config)
            self._fail_some(output.kv_connector_output)
            return output
        with (
            set_forward_context(None, self.vllm_config),
            KVConnectorModelRunnerMixin.maybe_get_kv_connector_output(scheduler_output) as connector_output,
        ):
            output = self._compute(scheduler_output)
        self._fail_some(connector_output)
        output.kv_connector_output = connector_output
        return output

    def sample_tokens(self, grammar_output: Any) -> ModelRunnerOutput:
        """Never asked: `execute_model` has done it."""
        raise NotImplementedError

    def _find_memory(self) -> None:
        """View the KV cache of each group's layers as integers, block by block."""
        layers = self.vllm_config.compilation_config.static_forward_context
        self._memory: list[list[npt.NDArray[np.int32]]] = []
        self._windows: list[int | None] = []
        self._block_tokens: list[int] = []
        for group in self.model_runner.kv_cache_config.kv_cache_groups:
            caches = [layers[name].kv_cache for name in group.layer_names]
            self._memory.append([cache.view(torch.int32).numpy() for cache in caches])
            self._windows.append(getattr(group.kv_cache_spec, "sliding_window", None))
            self._block_tokens.append(group.kv_cache_spec.block_size)

    def _compute(self, scheduled: Any) -> ModelRunnerOutput:
        starts = self._take_in(scheduled)
        names, sampled = list(scheduled.num_scheduled_tokens), []
        for name in names:
            sequence, start = self._sequences[name], starts[name]
            end = start + scheduled.num_scheduled_tokens[name]
            sequence.extend_values(zlib.crc32(tenant_of(name).encode()) & 0xFFFFFF)
            self._check(name, sequence, start)
            self._write(sequence, start, end)
            is_next = end == len(sequence.tokens)
            sampled.append([sequence.values[-1] % 256] if is_next else [])
            sequence.tokens.extend(sampled[-1])
        return ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: index for index, name in enumerate(names)},
            sampled_token_ids=sampled,
        )

    def _take_in(self, scheduled: Any) -> dict[str, int]:
        """Learn of new requests and new blocks; give where each request's computation starts."""
        starts = {}
        for new in scheduled.scheduled_new_reqs:
            starts[new.req_id] = new.num_computed_tokens
            tokens = list(new.prompt_token_ids)
            blocks = [list(ids) for ids in new.block_ids]
            self._sequences[new.req_id] = Sequence(tokens, len(tokens), blocks, [])
        cached = scheduled.scheduled_cached_reqs
        for index, name in enumerate(cached.req_ids):
            sequence = self._sequences[name]
            starts[name] = cached.num_computed_tokens[index]
            known = sequence.prompt_length + cached.num_output_tokens[index]
            del sequence.tokens[known:], sequence.values[known:]
            fresh = cached.new_block_ids[index]
            if name in cached.resumed_req_ids:
                sequence.blocks = [list(ids) for ids in fresh]
            elif fresh is not None:
                for mine, ids in zip(sequence.blocks, fresh, strict=True):
                    mine.extend(ids)
        return starts

    def _places(
        self, sequence: Sequence, group: int, start: int, end: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        positions = np.arange(start, end)
        blocks = np.asarray(sequence.blocks[group])[positions // self._block_tokens[group]]
        return blocks, positions % self._block_tokens[group], np.asarray(sequence.values[start:end], dtype=np.int32)

    def _check(self, name: str, sequence: Sequence, computed: int) -> None:
        for group, layers in enumerate(self._memory):
            window = self._windows[group]
            start = 0 if window is None else max(0, computed - window + 1)
            blocks, offsets, values = self._places(sequence, group, start, computed)
            SCRIPT.checked_tokens += len(values)
            for number, layer in enumerate(layers):
                found = layer[blocks, :, offsets]
                is_wrong = (found != (values + number)[:, None, None]).any(axis=(1, 2))
                if is_wrong.any():
                    first = start + int(is_wrong.argmax())
                    raise WrongBytesError(f"{name}: token {first} of {computed}, group {group}, layer {number}")

    def _write(self, sequence: Sequence, start: int, end: int) -> None:
        for group, layers in enumerate(self._memory):
            blocks, offsets, values = self._places(sequence, group, start, end)
            for number, layer in enumerate(layers):
                layer[blocks, :, offsets] = (values + number)[:, None, None]

    def _fail_some(self, output: KVConnectorOutput | None) -> None:
        """Report some loads that have ended as failed, as a connector does, and spoil what they loaded."""
        if output is None or not SCRIPT.failing_share:
            return
        scheduler = SCRIPT.scheduler
        for name in sorted(output.finished_recving or ()):
            request = scheduler.requests.get(name)
            if request is None or request.is_finished() or FAILURES.random() >= SCRIPT.failing_share:
                continue
            SCRIPT.failed += 1
            if len(self._memory) > 1:
                output.failed_recving = {*output.failed_recving, name}
                continue
            bad = FAILURES.choice(_tails(self._loaded(scheduler, request)))
            for layer in self._memory[0]:
                layer[bad] = -1
            if not SCRIPT.is_hushed:
                output.invalid_block_ids = {*output.invalid_block_ids, *bad}

    def _loaded(self, scheduler: Any, request: Any) -> list[int]:
        """Give the blocks that the connector loads for a request: vLLM has not given them their names yet."""
        ids = scheduler.kv_cache_manager.get_block_ids(request.request_id)[0]
        pool = scheduler.kv_cache_manager.block_pool.blocks
        computed = ids[: request.num_computed_tokens // self._block_tokens[0]]
        return [block_id for block_id in computed if pool[block_id].block_hash is None]


def _tails(ids: list[int]) -> list[list[int]]:
    return [ids[first:] for first in range(len(ids))]
