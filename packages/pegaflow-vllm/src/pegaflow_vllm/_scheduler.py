"""The scheduler's side: what is looked up, loaded and saved, and which blocks are kept meanwhile."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pegaflow import Lease, PegaError
from pegaflow_vllm._chain import Chain
from pegaflow_vllm._link import Link, Session
from pegaflow_vllm._metadata import Load, Piece, RankNames, Save, StepMetadata, WorkerReport
from pegaflow_vllm._settings import Settings

_log = logging.getLogger("vllm.pegaflow")


@dataclass
class _Tracked:
    """A request of the engine."""

    request: Any
    chain: Chain | None
    """None for a request whose KV nobody else may use."""

    saved: int = 0
    """The blocks, from the start, that were handed to the workers to be saved."""

    first: int = 0
    """The first block of the hit that was found last."""


@dataclass
class _Saving:
    blocks: list[Any]
    ranks: int = 0


@dataclass
class _Group:
    window_blocks: int | None


class SchedulerSide:
    """Decides for one engine. Called by vLLM's scheduler, on its thread."""

    def __init__(
        self,
        link: Link,
        settings: Settings,
        *,
        block_tokens: int,
        windows: Sequence[int | None],
        world_size: int,
        loads: bool,
        saves: bool,
        chain_of: Callable[[Any], Chain | None],
    ) -> None:
        self._link = link
        self._settings = settings
        self._block_tokens = block_tokens
        self._windows = windows
        self._world_size = world_size
        self._does_load = loads
        self._does_save = saves
        self._chain_of = chain_of
        self._ranks: dict[int, RankNames] = {}
        self._tracked: dict[str, _Tracked] = {}
        self._loads: list[Load] = []
        self._leases: dict[str, list[Lease]] = {}
        self._loading: set[str] = set()
        self._saving: dict[int, _Saving] = {}
        self._next_save = 0
        self._pool: Any = None

    def know_ranks(self, ranks: dict[int, RankNames]) -> None:
        """Take where the ranks keep their blocks; before, nothing is looked up."""
        self._ranks = ranks

    def bind_pool(self, pool: Any) -> None:
        """Take vLLM's blocks, of which those under way are kept."""
        self._pool = pool

    def add(self, request: Any) -> None:
        """Take note of a new request."""
        self._tracked[request.request_id] = _Tracked(request, self._chain_of(request))

    def match(self, request: Any, num_computed_tokens: int) -> int:
        """Give how many tokens beyond those computed can be loaded. Changes nothing."""
        tracked = self._tracked.get(request.request_id)
        if not self._does_load or tracked is None or tracked.chain is None or request.skip_reading_prefix_cache:
            return 0
        tracked.chain.extend(request.all_token_ids)
        first = num_computed_tokens // self._block_tokens
        # One token is left to compute, for whose sake the request is run.
        last = min((request.num_tokens - 1) // self._block_tokens, len(tracked.chain))
        if last <= first or len(self._ranks) < self._world_size:
            return 0
        chain = tracked.chain
        found = self._link.call(lambda session: self._match(session, chain, first, last), first)
        tracked.first = first
        return (found - first) * self._block_tokens

    def _match(self, session: Session, chain: Chain, first: int, last: int) -> int:
        """Give the end of the blocks from `first` on that every rank has for every group."""
        for names in self._ranks.values():
            for namespace, window in zip(names.namespaces, self._windows, strict=True):
                if last > first and window is None:
                    last = first + session.cache(namespace).match_prefix(chain.packed(first, last))
        return last

    def commit(self, request: Any, block_ids: Sequence[Sequence[int]], num_tokens: int) -> None:
        """Plan the load of so many tokens into these blocks of the request."""
        tracked = self._tracked.get(request.request_id)
        if num_tokens == 0 or tracked is None or tracked.chain is None:
            return
        first, count = tracked.first, num_tokens // self._block_tokens
        names = tracked.chain.packed(first, first + count)
        pieces = tuple(Piece(group, names, tuple(ids[first : first + count])) for group, ids in enumerate(block_ids))
        none: tuple[tuple[int, ...], ...] = ()
        tokens = self._link.call(lambda session: self._lease(session, request.request_id, pieces), none)
        self._loads.append(Load(request.request_id, pieces, tokens))
        self._loading.add(request.request_id)

    def _lease(self, session: Session, request_id: str, pieces: tuple[Piece, ...]) -> tuple[tuple[int, ...], ...]:
        leases, tokens = [], []
        for rank in range(self._world_size):
            names = self._ranks[rank].namespaces
            taken = [
                session.cache(names[piece.group]).lease(piece.names, max_age_s=self._settings.lease_s)
                for piece in pieces
            ]
            leases += taken
            tokens.append(tuple(lease.token for lease in taken))
        self._leases[request_id] = leases
        return tuple(tokens)

    def plan(self, scheduler_output: Any) -> StepMetadata:
        """Give what the workers do in the step that was scheduled."""
        step = StepMetadata(self._loads, [], scheduler_output.total_num_scheduled_tokens == 0)
        self._loads = []
        if self._does_save:
            state = scheduler_output.kv_connector_block_state
            for request_id, count in scheduler_output.num_scheduled_tokens.items():
                tracked = self._tracked.get(request_id)
                if tracked is not None and tracked.chain is not None:
                    self._plan_save(tracked, tracked.request.num_computed_tokens + count, state, step)
        return step

    def _plan_save(self, tracked: _Tracked, computed: int, state: Any, step: StepMetadata) -> None:
        """Save the blocks that the step fills, as far as their tokens are known by now."""
        request = tracked.request
        known = min(computed, len(request.all_token_ids))
        full = known // self._block_tokens
        if full <= tracked.saved or self._link.session is None:
            return
        assert tracked.chain is not None
        tracked.chain.extend(request.all_token_ids)
        block_ids = state.resolve_block_ids(request.request_id)
        names = tracked.chain.packed(tracked.saved, full)
        pieces = tuple(Piece(group, names, tuple(ids[tracked.saved : full])) for group, ids in enumerate(block_ids))
        blocks = [self._pool.blocks[block_id] for piece in pieces for block_id in piece.block_ids]
        self._pool.touch(blocks)
        self._saving[self._next_save] = _Saving(blocks)
        step.saves.append(Save(self._next_save, pieces))
        self._next_save += 1
        tracked.saved = full

    def take_report(self, output: Any) -> None:
        """Take note of what the workers have done."""
        for request_id in output.finished_recving or ():
            self._end_load(request_id)
        report = output.kv_connector_worker_meta
        if isinstance(report, WorkerReport):
            for number, ranks in report.saves.items():
                saving = self._saving[number]
                saving.ranks += ranks
                if saving.ranks >= self._world_size:
                    del self._saving[number]
                    self._pool.free_blocks(reversed(saving.blocks))

    def _end_load(self, request_id: str) -> None:
        self._loading.discard(request_id)
        for lease in self._leases.pop(request_id, ()):
            with suppress(PegaError):
                lease.release()

    def finish(self, request: Any) -> None:
        """Forget a request. A load of it that is under way goes on."""
        self._tracked.pop(request.request_id, None)

    @property
    def is_saving(self) -> bool:
        """Whether blocks are kept for saves under way."""
        return bool(self._saving)

    def close(self) -> None:
        """Give back what is leased."""
        for request_id in list(self._leases):
            self._end_load(request_id)
