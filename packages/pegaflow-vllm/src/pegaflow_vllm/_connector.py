"""`PegaKVConnector`: what vLLM calls, passed on to the side that the object has."""

from collections.abc import Iterable
from typing import Any

from pegaflow_vllm import _compat, _identity
from pegaflow_vllm._compat import (
    CacheHitSource,
    KVCacheEvent,
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
    KVConnectorTransferResults,
    SupportsHMA,
)
from pegaflow_vllm._errors import UnsupportedEngineError
from pegaflow_vllm._link import Link
from pegaflow_vllm._metadata import RankNames, StepMetadata, WorkerReport
from pegaflow_vllm._metrics import Figures, Prometheus
from pegaflow_vllm._scheduler import Roles, SchedulerSide
from pegaflow_vllm._settings import Settings
from pegaflow_vllm._worker import WorkerSide


class PegaKVConnector(KVConnectorBase_V1, SupportsHMA):
    """Keeps vLLM's KV blocks in pegaflow.

    vLLM makes one object beside its scheduler and one in each worker; each has its own side and not the other. Loads
    are asynchronous: a request waits for its blocks while others compute. Saves run in the background, and their
    blocks are kept from being reused until they are stored.

    Raises:
        SettingsError: A setting that is not known or cannot be meant.
        UnsupportedEngineError: A vLLM, a model or a topology that cannot be served.
        IdentityError: Weights that cannot be told from others.
        PegaError: A running sidecar has other settings than those asked for.
    """

    def __init__(self, vllm_config: Any, role: KVConnectorRole, kv_cache_config: Any) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        config = vllm_config.kv_transfer_config
        settings = Settings.read(config.kv_connector_extra_config)
        _compat.check_version(allow_untested=settings.allow_untested_vllm)
        _compat.check_topology(vllm_config)
        windows = [_compat.window_tokens(group) for group in kv_cache_config.kv_cache_groups]
        if not windows:
            raise UnsupportedEngineError("a model without attention", "run it without the connector")
        self._has_one_group = len(windows) == 1
        if settings.load_failure == "recompute":
            _compat.recompute_failed_loads(config)
        identity = _identity.of_engine(vllm_config, kv_cache_config, settings)
        is_scheduler = role == KVConnectorRole.SCHEDULER
        timeout_s = settings.lookup_timeout_s if is_scheduler else settings.transfer_timeout_s
        self._link = Link(settings, reply_timeout_s=timeout_s)
        self._scheduler = self._scheduler_side(settings, identity, windows) if is_scheduler else None
        self._worker = None if is_scheduler else self._worker_side(settings, identity)
        self._link.open()

    def _scheduler_side(self, settings: Settings, identity: bytes, windows: list[int | None]) -> SchedulerSide:
        config = self._kv_transfer_config
        events = self._vllm_config.kv_events_config
        block_tokens = self._vllm_config.cache_config.block_size
        roles = Roles(
            loads=config.is_kv_consumer,
            saves=config.is_kv_producer,
            announces=config.is_kv_producer and not config.is_kv_consumer,
            tells=events is not None and events.enable_kv_cache_events,
        )
        return SchedulerSide(
            self._link,
            settings,
            roles,
            _identity.Names(identity, block_tokens, hashes_media=_identity.hashes_media(self._vllm_config)),
            block_tokens=block_tokens,
            windows=windows,
            world_size=self._vllm_config.parallel_config.world_size,
        )

    def _worker_side(self, settings: Settings, identity: bytes) -> WorkerSide:
        parallel = self._vllm_config.parallel_config
        return WorkerSide(
            self._link,
            identity=identity.hex()[:32],
            rank=parallel.rank % parallel.world_size,
            groups=[group.layer_names for group in self._kv_cache_config.kv_cache_groups],
            num_blocks=self._kv_cache_config.num_blocks,
            backends=lambda: _compat.attention_backends(self._vllm_config),
            block_tokens=self._vllm_config.cache_config.block_size,
            load_threads=settings.load_threads,
        )

    @property
    def requires_kv_delivery(self) -> bool:
        """Whether a request must not end before its blocks are saved: no, what is not saved is computed again."""
        return False

    @property
    def _deciding(self) -> SchedulerSide:
        assert self._scheduler is not None, "this method belongs to the scheduler's side"
        return self._scheduler

    @property
    def _working(self) -> WorkerSide:
        assert self._worker is not None, "this method belongs to the worker's side"
        return self._worker

    @property
    def _step(self) -> StepMetadata:
        step = self._connector_metadata
        assert isinstance(step, StepMetadata)
        return step

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        """Take the tensors of vLLM's cache."""
        self._working.register(kv_caches)

    def unregister_kv_caches(self) -> None:
        """Let go of the tensors before the engine sleeps."""
        self._working.unregister()

    def restore_kv_caches(self) -> None:
        """Take them again after it."""
        self._working.restore()

    def get_handshake_metadata(self) -> RankNames | None:
        """Give the scheduler's side where this rank keeps its blocks."""
        return self._working.names

    def bind_connector_metadata(self, connector_metadata: KVConnectorMetadata) -> None:
        """Begin a step."""
        super().bind_connector_metadata(connector_metadata)
        self._working.begin_step()

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Begin the loads of the step: after what it computes, as none of it waits for them."""
        self._working.start_loads(self._step)

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Do nothing: a request whose blocks are under way is not computed."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        """Do nothing: a block is saved with all its layers, once the step is computed."""

    def wait_for_save(self) -> None:
        """Begin the saves of the step. Their blocks are kept until they are over."""
        self._working.start_saves(self._step)

    def get_transfer_results(self, finished_req_ids: set[str]) -> KVConnectorTransferResults:
        """Give the requests whose loads are over."""
        finished, failed = self._working.finished_loads(self._step)
        if self._has_one_group:
            return KVConnectorTransferResults(finished_recving=finished)
        return KVConnectorTransferResults(finished_recving=finished, failed_recving=failed)

    def get_block_ids_with_load_errors(self) -> set[int]:
        """Give the blocks that could not be loaded; with several groups vLLM takes the requests instead."""
        bad = self._working.take_bad_blocks()
        return bad if self._has_one_group else set()

    def build_connector_worker_meta(self) -> WorkerReport | None:
        """Give the scheduler's side what was done and measured."""
        return self._working.report()

    def set_xfer_handshake_metadata_pp_aware(self, metadata: dict[tuple[int, int], Any]) -> None:
        """Take where each rank keeps its blocks: by its place in the pipeline, then among tensor-parallel ranks."""
        self._deciding.know_ranks(dict(enumerate(metadata[place] for place in sorted(metadata))))

    def bind_gpu_block_pool(self, gpu_block_pool: Any) -> None:
        """Take vLLM's blocks, of which those that are being saved are kept."""
        self._deciding.bind_pool(gpu_block_pool)

    def on_new_request(self, request: Any) -> None:
        """Take note of a request and its hints."""
        self._deciding.add(request)

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int | None, bool]:
        """Look up the blocks of a request, and change nothing."""
        found = self._deciding.match(request, num_computed_tokens)
        return found, bool(found)

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        """Keep the blocks that were found, and plan their load."""
        self._deciding.commit(request, blocks.get_block_ids(), num_external_tokens)

    def get_external_cache_hit_sources(self, request: Any, num_external_tokens: int) -> dict[CacheHitSource, int]:
        """Split a hit by where its blocks are."""
        return self._deciding.hit_sources(request, num_external_tokens)

    def build_connector_meta(self, scheduler_output: Any) -> KVConnectorMetadata:
        """Plan the saves of a step, and give them and its loads to the workers."""
        return self._deciding.plan(scheduler_output)

    def update_connector_output(self, connector_output: Any) -> None:
        """Take note of what the workers have done."""
        self._deciding.take_report(connector_output)

    def request_finished(self, request: Any, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        """Forget a request. Its blocks may be freed: those that are being saved are kept one by one."""
        return False, self._deciding.finish(request)

    def request_finished_all_groups(
        self, request: Any, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        """Forget a request of a model with several groups of layers."""
        return False, self._deciding.finish(request)

    def take_events(self) -> Iterable[KVCacheEvent]:
        """Give the blocks that were stored."""
        return self._deciding.take_events()

    def has_pending_block_frees(self) -> bool:
        """Say whether waiting may free blocks, so that no request need be preempted."""
        return self._deciding.is_saving

    def has_pending_push_work(self) -> bool:
        """Say whether the engine must go on stepping although it has no request."""
        return self._deciding.is_saving

    def reset_cache(self) -> bool | None:
        """Share nothing any more with what was stored before."""
        return self._deciding.reset()

    def get_kv_connector_stats(self) -> Figures | None:
        """Give what this side has counted."""
        return self._working.figures.take() if self._worker is not None else self._deciding.take_figures()

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> Figures | None:
        """Make figures of what crossed between processes."""
        return Figures(data=data or {})

    @classmethod
    def build_prom_metrics(
        cls,
        vllm_config: Any,
        metric_types: Any,
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> Prometheus | None:
        """Make the metrics of vLLM's Prometheus endpoint."""
        return Prometheus(vllm_config, metric_types, labelnames, per_engine_labelvalues)

    def shutdown(self) -> None:
        """Finish what is under way, and let go of the sidecar, which goes on."""
        if self._worker is not None:
            self._worker.close()
        if self._scheduler is not None:
            self._scheduler.close()
        self._link.close()


PegaKVConnector.__module__ = "pegaflow_vllm"
