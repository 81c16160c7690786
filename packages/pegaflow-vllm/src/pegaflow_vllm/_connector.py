"""`PegaKVConnector`: what vLLM calls."""

from typing import Any

from pegaflow_vllm import _compat, _identity
from pegaflow_vllm._compat import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
    KVConnectorTransferResults,
    SupportsHMA,
)
from pegaflow_vllm._link import Link
from pegaflow_vllm._metadata import RankNames, StepMetadata, WorkerReport
from pegaflow_vllm._scheduler import SchedulerSide
from pegaflow_vllm._settings import Settings
from pegaflow_vllm._worker import WorkerSide


class PegaKVConnector(KVConnectorBase_V1, SupportsHMA):
    """Keeps vLLM's KV blocks in pegaflow.

    vLLM makes one object beside its scheduler and one in each worker; each has its own side and not the other.
    Loads are asynchronous: a request waits for its blocks while others compute. Saves run in the background, and their
    blocks are kept from being reused until they are stored.
    """

    __module__ = "pegaflow_vllm"

    def __init__(self, vllm_config: Any, role: KVConnectorRole, kv_cache_config: Any) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        config = vllm_config.kv_transfer_config
        settings = Settings.read(config.kv_connector_extra_config)
        _compat.check_version(allow_untested=settings.allow_untested_vllm)
        windows = [_compat.window_tokens(group) for group in kv_cache_config.kv_cache_groups]
        if settings.load_failure == "recompute":
            _compat.recompute_failed_loads(config)
        identity = _identity.of_engine(vllm_config, kv_cache_config, settings)
        is_scheduler = role == KVConnectorRole.SCHEDULER
        timeout_s = settings.lookup_timeout_s if is_scheduler else settings.transfer_timeout_s
        self._link = Link(settings, reply_timeout_s=timeout_s)
        self._scheduler: SchedulerSide | None = None
        self._worker: WorkerSide | None = None
        if is_scheduler:
            self._scheduler = SchedulerSide(
                self._link,
                settings,
                block_tokens=vllm_config.cache_config.block_size,
                windows=windows,
                world_size=vllm_config.parallel_config.world_size,
                loads=config.is_kv_consumer,
                saves=config.is_kv_producer,
                chain_of=lambda request: _identity.chain(request, identity, vllm_config.cache_config.block_size),
            )
        else:
            self._worker = WorkerSide(
                self._link,
                identity=identity.hex()[:32],
                rank=vllm_config.parallel_config.rank,
                groups=[group.layer_names for group in kv_cache_config.kv_cache_groups],
                num_blocks=kv_cache_config.num_blocks,
            )
        self._link.open()

    @property
    def requires_kv_delivery(self) -> bool:
        """A cache: what is not saved is computed again."""
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

    # The worker's side.

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        self._working.register(kv_caches)

    def get_handshake_metadata(self) -> RankNames | None:
        return self._working.names

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        self._working.start_loads(self._step)

    def wait_for_layer_load(self, layer_name: str) -> None:
        pass

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        pass

    def wait_for_save(self) -> None:
        self._working.start_saves(self._step)

    def get_transfer_results(self, finished_req_ids: set[str]) -> KVConnectorTransferResults:
        finished, _failed = self._working.finished_loads(self._step)
        return KVConnectorTransferResults(finished_recving=finished)

    def get_block_ids_with_load_errors(self) -> set[int]:
        return self._working.take_bad_blocks()

    def build_connector_worker_meta(self) -> WorkerReport | None:
        return self._working.report()

    # The scheduler's side.

    def set_xfer_handshake_metadata_pp_aware(self, metadata: dict[tuple[int, int], Any]) -> None:
        ordered = [metadata[key] for key in sorted(metadata)]
        self._deciding.know_ranks(dict(enumerate(ordered)))

    def bind_gpu_block_pool(self, gpu_block_pool: Any) -> None:
        self._deciding.bind_pool(gpu_block_pool)

    def on_new_request(self, request: Any) -> None:
        self._deciding.add(request)

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int | None, bool]:
        found = self._deciding.match(request, num_computed_tokens)
        return found, found > 0

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        self._deciding.commit(request, blocks.get_block_ids(), num_external_tokens)

    def build_connector_meta(self, scheduler_output: Any) -> KVConnectorMetadata:
        return self._deciding.plan(scheduler_output)

    def update_connector_output(self, connector_output: Any) -> None:
        self._deciding.take_report(connector_output)

    def request_finished(self, request: Any, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        self._deciding.finish(request)
        return False, None

    def request_finished_all_groups(
        self, request: Any, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        self._deciding.finish(request)
        return False, None

    def has_pending_block_frees(self) -> bool:
        return self._deciding.is_saving

    def has_pending_push_work(self) -> bool:
        return self._deciding.is_saving

    def shutdown(self) -> None:
        if self._worker is not None:
            self._worker.close()
        if self._scheduler is not None:
            self._scheduler.close()
        self._link.close()
