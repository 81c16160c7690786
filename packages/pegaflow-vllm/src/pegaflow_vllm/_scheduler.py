"""The scheduler's side: what is looked up, loaded and saved."""

import itertools
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pegaflow import PegaError
from pegaflow_vllm import _events, _hints
from pegaflow_vllm._break_even import BreakEven
from pegaflow_vllm._chain import Chain
from pegaflow_vllm._clerk import Clerk
from pegaflow_vllm._compat import CacheHitSource, KVCacheEvent
from pegaflow_vllm._events import Saved
from pegaflow_vllm._hints import Hints
from pegaflow_vllm._identity import Names
from pegaflow_vllm._link import Link
from pegaflow_vllm._lookup import Leased, Lookup
from pegaflow_vllm._metadata import Load, Piece, RankNames, StepMetadata, WorkerReport
from pegaflow_vllm._metrics import Figures
from pegaflow_vllm._saving import Saving
from pegaflow_vllm._settings import Settings
from pegaflow_vllm._shared import Recent


@dataclass
class _Tracked:
    """A request of the engine."""

    request: Any
    chain: Chain | None
    """None for a request whose KV nobody else may use."""

    hints: Hints
    number: int
    """No other request has it, whatever its id."""

    saved: int = 0
    """The blocks, from the start, that were handed to the workers to be saved."""

    first: int = 0
    """The first block of the hit that was found last."""

    asked: int = 0
    """The blocks that the sidecar was asked for since the request was last scheduled."""

    computed: int = 0
    """Those of them that were found and are computed, which is faster."""

    has_failed: bool = False
    """A load of it failed: it is computed, or it would be found and fail again."""

    awaited_until_s: float = 0.0


@dataclass(frozen=True)
class _Loading:
    leased: Leased
    pages: set[int]


@dataclass(frozen=True)
class Roles:
    """What an engine does with the sidecar."""

    loads: bool
    saves: bool
    announces: bool
    """It computes prompts for another engine, and says what that one will find."""

    tells: bool
    """It publishes KV events."""


class SchedulerSide:
    """Decides for one engine. Called by vLLM's scheduler, on its thread."""

    def __init__(
        self,
        link: Link,
        settings: Settings,
        roles: Roles,
        names: Names,
        *,
        block_tokens: int,
        windows: Sequence[int | None],
        world_size: int,
    ) -> None:
        self._link = link
        self._settings = settings
        self._roles = roles
        self._names = names
        self._block_tokens = block_tokens
        self._world_size = world_size
        self._lookup = Lookup(block_tokens, windows)
        self._break_even = BreakEven(settings.break_even)
        self._clerk = Clerk(link, most_pinned=settings.max_pinned)
        self._saving = Saving(world_size)
        self._is_known = False
        self._tracked: dict[str, _Tracked] = {}
        self._loads: list[Load] = []
        self._loading: dict[str, _Loading] = {}
        self._numbers = itertools.count()
        self._over: dict[int, tuple[bytes, str | None, Hints]] = {}
        self._recent = Recent()
        self._events: list[KVCacheEvent] = []
        self._waiting = 0
        self._told_disconnects = self._told_dropped = 0
        self.figures = Figures()

    def know_ranks(self, ranks: dict[int, RankNames]) -> None:
        """Take where the ranks keep their blocks; before, nothing is looked up."""
        self._lookup.know_ranks(ranks)
        self._is_known = len(ranks) == self._world_size

    def bind_pool(self, pool: Any) -> None:
        """Take vLLM's blocks, of which those under way are kept."""
        self._saving.bind(pool)

    def add(self, request: Any) -> None:
        """Take note of a new request."""
        hints = _hints.read(request, longest_s=self._settings.max_pin_s)
        tracked = _Tracked(request, self._names.chain(request), hints, next(self._numbers))
        self._tracked[request.request_id] = tracked
        if hints.await_blocks and self._roles.loads:
            tracked.awaited_until_s = time.monotonic() + self._settings.handoff_timeout_s
        if hints.prefetch and tracked.chain is not None and self._is_known:
            tracked.chain.extend(request.all_token_ids)
            self._clerk.prefetch(self._lookup.namespaces, tracked.chain.packed(0, len(tracked.chain)))

    def match(self, request: Any, num_computed_tokens: int) -> int | None:
        """Give how many tokens beyond those computed can be loaded; None while blocks that were announced are awaited.

        Asks and changes nothing in the sidecar, so that it may be called at every step.
        """
        tracked = self._tracked.get(request.request_id)
        if tracked is None or tracked.chain is None or not self._roles.loads or not self._is_known:
            return 0
        chain, first = tracked.chain, num_computed_tokens // self._block_tokens
        chain.extend(request.all_token_ids)
        # One token is left to compute, for whose sake the request is run.
        last = min((request.num_tokens - 1) // self._block_tokens, len(chain))
        if last <= first or tracked.has_failed or request.skip_reading_prefix_cache:
            return 0
        began_s = time.monotonic()
        found = self._link.call(lambda session: self._lookup.find(session, chain, first, last), first)
        now_s = time.monotonic()
        self.figures.time("lookup_seconds", now_s - began_s)
        if found < min(tracked.hints.await_blocks, last) and now_s < tracked.awaited_until_s and self._link.session:
            self._waiting += 1
            return None
        tokens = (found - first) * self._block_tokens
        tracked.first, tracked.asked, tracked.computed = first, last - first, 0
        if tokens < self._settings.min_hit_tokens or not self._break_even.is_worth_loading(tokens):
            tracked.computed = found - first
            return 0
        return tokens

    def commit(self, request: Any, block_ids: Sequence[Sequence[int]], num_tokens: int) -> None:
        """Plan the load of so many tokens into these blocks of the request."""
        tracked = self._tracked.get(request.request_id)
        if tracked is None or tracked.chain is None:
            return
        self._count(tracked)
        if num_tokens == 0:
            return
        first, count = tracked.first, num_tokens // self._block_tokens
        pieces = self._pieces(tracked.chain, block_ids, first, first + count, is_load=True)
        leased = self._link.call(
            lambda session: self._lookup.lease(session, pieces, self._settings.lease_s), Leased((), (), 0)
        )
        pages = {page for piece in pieces for page in piece.block_ids}
        self._loading[request.request_id] = _Loading(leased, pages)
        self._loads.append(Load(request.request_id, pieces, leased.tokens))

    def _count(self, tracked: _Tracked) -> None:
        self.figures.count("queried_tokens", tracked.asked * self._block_tokens)
        self.figures.count("computed_tokens", tracked.computed * self._block_tokens)
        if tracked.computed:
            self._break_even.computed()
        tracked.asked = tracked.computed = 0

    def hit_sources(self, request: Any, num_tokens: int) -> dict[CacheHitSource, int]:
        """Split the tokens of a hit by where they were."""
        loading = self._loading.get(request.request_id)
        on_disk = 0 if loading is None else min(num_tokens, loading.leased.on_disk * self._block_tokens)
        self.figures.count("hit_disk_tokens", on_disk)
        self.figures.count("hit_memory_tokens", num_tokens - on_disk)
        split = {CacheHitSource.HOST: num_tokens - on_disk, CacheHitSource.DISK: on_disk}
        return {source: tokens for source, tokens in split.items() if tokens}

    def plan(self, scheduler_output: Any) -> StepMetadata:
        """Give what the workers do in the step that was scheduled."""
        step = StepMetadata(self._loads, [], scheduler_output.total_num_scheduled_tokens, self._waiting > 0)
        self._loads, self._waiting = [], 0
        if self._roles.saves and self._is_known and self._link.session is not None:
            state = scheduler_output.kv_connector_block_state
            for request_id, count in scheduler_output.num_scheduled_tokens.items():
                tracked = self._tracked.get(request_id)
                if tracked is not None and tracked.chain is not None:
                    self._plan_save(tracked, tracked.chain, tracked.request.num_computed_tokens + count, state, step)
        return step

    def _plan_save(self, tracked: _Tracked, chain: Chain, computed: int, state: Any, step: StepMetadata) -> None:
        """Save the blocks that the step fills, as far as their tokens are known by now."""
        request = tracked.request
        full = min(computed, len(request.all_token_ids)) // self._block_tokens
        if full <= tracked.saved:
            return
        chain.extend(request.all_token_ids)
        pieces = self._pieces(chain, state.resolve_block_ids(request.request_id), tracked.saved, full, is_load=False)
        told = self._saved(tracked, chain, tracked.saved, full) if self._roles.tells else None
        tracked.saved = full
        if pieces:
            step.saves.append(self._saving.begin(tracked.number, pieces, told))

    def _pieces(
        self, chain: Chain, block_ids: Sequence[Sequence[int]], first: int, last: int, *, is_load: bool
    ) -> tuple[Piece, ...]:
        """Name blocks `first` to `last` of each group, but for those that lie outside its window."""
        pieces = []
        for group, ids in enumerate(block_ids):
            start = max(first, self._lookup.start_of_window(group, last)) if is_load else first
            # Block 0 stands for those that were given up.
            held = [index for index in range(start, min(last, len(ids))) if ids[index]]
            names = b"".join(chain.name(index) for index in held)
            if len(held) == last - start:
                names = chain.packed(start, last)
            if held:
                pieces.append(Piece(group, names, tuple(ids[index] for index in held)))
        return tuple(pieces)

    def _saved(self, tracked: _Tracked, chain: Chain, first: int, last: int) -> Saved:
        adapter = tracked.request.lora_request
        return Saved(
            chain.packed(first, last),
            chain.name(first - 1) if first else None,
            tracked.request.all_token_ids[first * self._block_tokens : last * self._block_tokens],
            None if adapter is None else adapter.lora_int_id,
            None if adapter is None else adapter.lora_name,
            getattr(tracked.request, "session_id", None),
        )

    def take_report(self, output: Any) -> None:
        """Take note of what the workers have done."""
        failed = set(output.failed_recving or ())
        for request_id in output.finished_recving or ():
            loaded = self._loading.pop(request_id, None)
            if loaded is not None and (request_id in failed or loaded.pages & output.invalid_block_ids):
                self._note_failure(request_id)
            self._release(loaded)
        report = output.kv_connector_worker_meta
        if not isinstance(report, WorkerReport):
            return
        self._break_even.learn(report)
        over, stored = self._saving.end(report)
        self._events += [_events.stored(saved, self._block_tokens) for saved in stored]
        for number in over:
            if number in self._over:
                self._pass_on(*self._over.pop(number))

    def finish(self, request: Any) -> dict[str, Any] | None:
        """Forget a request; give what another engine may want to know of it. A load under way goes on."""
        tracked = self._tracked.pop(request.request_id, None)
        if tracked is None or tracked.chain is None or not self._is_known:
            return None
        hints, session = tracked.hints, getattr(request, "session_id", None)
        names = tracked.chain.packed(0, len(tracked.chain))
        if hints.pin_s or hints.next_use_s or hints.is_over:
            if self._saving.has(tracked.number):
                self._over[tracked.number] = (names, session, hints)
            else:
                self._pass_on(names, session, hints)
        if not hints.is_over:
            self._recent.end(names, session)
        blocks = min(tracked.saved, request.num_prompt_tokens // self._block_tokens)
        return {_hints.KEY: {"await_blocks": blocks}} if self._roles.announces and blocks else None

    def _pass_on(self, names: bytes, session: str | None, hints: Hints) -> None:
        """Tell the sidecar what becomes of the blocks of a request that is over, and stored."""
        if hints.is_over:
            chains = [tracked.chain for tracked in self._tracked.values() if tracked.chain is not None]
            names = self._recent.own(names, session, [chain.packed(0, len(chain)) for chain in chains])
        if names:
            self._clerk.finished(self._lookup.namespaces, names, hints)

    def reset(self) -> bool:
        """Share nothing with what was stored before, as after a change of the weights."""
        self._names.begin_anew(os.urandom(16))
        for tracked in self._tracked.values():
            # What is computed already is of the old weights, and nobody can tell where the new ones begin.
            is_fresh = tracked.request.num_computed_tokens == 0
            tracked.chain = self._names.chain(tracked.request) if is_fresh else None
            tracked.saved = 0
        return True

    @property
    def is_saving(self) -> bool:
        """Whether blocks are kept for saves under way."""
        return len(self._saving) > 0

    def take_events(self) -> list[KVCacheEvent]:
        """Give what happened to blocks since the last call."""
        events, self._events = self._events, []
        return events

    def take_figures(self) -> Figures | None:
        """Give what was counted since the last call."""
        self.figures.count("disconnects", self._link.disconnects - self._told_disconnects)
        self.figures.count("dropped_hints", self._clerk.dropped - self._told_dropped)
        self._told_disconnects, self._told_dropped = self._link.disconnects, self._clerk.dropped
        return self.figures.take()

    def close(self) -> None:
        """Give back what is leased."""
        for loading in self._loading.values():
            self._release(loading)
        self._loading = {}
        self._clerk.close()

    def _note_failure(self, request_id: str) -> None:
        if request_id in self._tracked:
            self._tracked[request_id].has_failed = True

    def _release(self, loading: _Loading | None) -> None:
        for lease in () if loading is None else loading.leased.leases:
            # A sidecar that is gone has released it.
            with suppress(PegaError):
                lease.release()
