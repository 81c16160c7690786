"""The worker's side: blocks on their way between vLLM's cache and the sidecar."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

from pegaflow import PegaError
from pegaflow_vllm._chain import HASH_BYTES
from pegaflow_vllm._device import Fence, Pages, pages_on_device
from pegaflow_vllm._layout import group_pages
from pegaflow_vllm._link import Link, Session
from pegaflow_vllm._metadata import Load, Piece, RankNames, Save, StepMetadata, WorkerReport
from pegaflow_vllm._metrics import Figures
from pegaflow_vllm._progress import Progress

_log = logging.getLogger("vllm.pegaflow")

_IDLE_WAIT_S = 0.005
"""How long a step without computation waits for a transfer: short enough that a new request hardly waits for it."""

_TELLING_TOKENS = 64
"""A step or load of fewer says little about the time that a token takes."""

_PART_BYTES = 16 << 20
"""The least that a load gives to each of several threads."""


@dataclass(frozen=True)
class _Loaded:
    """What became of a share of a load."""

    bad: list[tuple[int, int]]
    """The piece and position of what could not be had."""

    began_s: float
    ended_s: float


@dataclass
class _Loading:
    load: Load
    began_s: float
    parts: "list[Future[_Loaded]]" = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return all(part.done() for part in self.parts)


@dataclass(frozen=True)
class _Stored:
    """What became of a save."""

    saved_bytes: int
    refused: int
    is_complete: bool
    took_s: float


class WorkerSide:
    """Loads and saves the blocks of one rank. Called by vLLM's thread; the copies run on others."""

    def __init__(
        self,
        link: Link,
        *,
        identity: str,
        rank: int,
        groups: Sequence[Sequence[str]],
        num_blocks: int,
        backends: Callable[[], Mapping[str, str]],
        block_tokens: int,
        load_threads: int,
    ) -> None:
        self._link = link
        self._identity = identity
        self._rank = rank
        self._groups = groups
        self._num_blocks = num_blocks
        self._backends = backends
        self._block_tokens = block_tokens
        self._load_threads = max(1, load_threads)
        self._tensors: dict[str, Any] = {}
        self._pages: list[Pages] = []
        self._names = RankNames((), ())
        self._loads = Progress("pegaflow-load", self._load_threads)
        # One thread: saves have time, and two would take it from what is computed.
        self._saves = Progress("pegaflow-save", 1, is_patient=True)
        self._loading: dict[str, _Loading] = {}
        self._saving: dict[int, Future[_Stored]] = {}
        self._bad_blocks: set[int] = set()
        self._began_s = 0.0
        self._load_s_per_token: float | None = None
        self._compute_s_per_token: float | None = None
        self.figures = Figures()

    def register(self, kv_caches: dict[str, Any]) -> None:
        """Take the tensors of vLLM's cache."""
        self._tensors = kv_caches
        groups = group_pages(kv_caches, self._groups, self._num_blocks, self._backends())
        namespaces = tuple(
            f"vllm/{self._identity}/{pages.digest[:16]}/r{self._rank}/g{group}" for group, pages in enumerate(groups)
        )
        self._names = RankNames(namespaces, tuple(pages.block_bytes for pages in groups))
        self._pages = [pages_on_device(pages, self._num_blocks) for pages in groups]

    def unregister(self) -> None:
        """Let go of the tensors, once nothing is under way."""
        wait(self._saving.values())
        wait(part for loading in self._loading.values() for part in loading.parts)
        self._pages = []

    def restore(self) -> None:
        """Take the tensors again that were let go of."""
        if not self._pages and self._tensors:
            self.register(self._tensors)

    @property
    def names(self) -> RankNames:
        """Where this rank keeps its blocks."""
        return self._names

    def begin_step(self) -> None:
        """Take the time at which a step begins."""
        self._began_s = time.monotonic()

    def start_loads(self, step: StepMetadata) -> None:
        """Begin the loads of a step, after what it computes."""
        if step.tokens >= _TELLING_TOKENS and self._pages[0].computes_in_step:
            self._compute_s_per_token = (time.monotonic() - self._began_s) / step.tokens
        for load in step.loads:
            loading = self._loading[load.request_id] = _Loading(load, time.monotonic())
            session = self._link.session
            for part in range(self._parts(load)):
                loading.parts.append(self._loads.start(self._load, session, load, part, self._parts(load)))

    def start_saves(self, step: StepMetadata) -> None:
        """Begin the saves of a step, whose blocks are computed."""
        if step.saves:
            fence = self._pages[0].fence()
            for save in step.saves:
                self._saving[save.number] = self._saves.start(self._save, save, fence)

    def finished_loads(self, step: StepMetadata) -> tuple[set[str], set[str]]:
        """Give the requests whose loads are over, and which of them failed."""
        if not step.tokens and (self._loading or self._saving or step.waits):
            self._wait()
        finished, failed = set(), set()
        for request_id, loading in list(self._loading.items()):
            if loading.is_over:
                del self._loading[request_id]
                finished.add(request_id)
                if not self._end_load(loading):
                    failed.add(request_id)
        return finished, failed

    def _wait(self) -> None:
        """Wait a little for a load that a request waits for, or else for a save."""
        if self._loading:
            self._loads.wait(lambda: any(loading.is_over for loading in self._loading.values()), _IDLE_WAIT_S)
        else:
            self._saves.wait(lambda: any(save.done() for save in self._saving.values()), _IDLE_WAIT_S)

    def take_bad_blocks(self) -> set[int]:
        """Give the blocks that could not be loaded, once."""
        bad, self._bad_blocks = self._bad_blocks, set()
        return bad

    def report(self) -> WorkerReport | None:
        """Give what is over and what was measured, once."""
        report = WorkerReport(load_s_per_token=self._load_s_per_token, compute_s_per_token=self._compute_s_per_token)
        self._load_s_per_token = self._compute_s_per_token = None
        for number in [number for number, future in self._saving.items() if future.done()]:
            report.saves[number] = 1
            stored = _result(self._saving.pop(number))
            if stored is None or not stored.is_complete:
                report.incomplete.add(number)
            if stored is not None:
                self.figures.count("saved_bytes", stored.saved_bytes)
                self.figures.count("refused_blocks", stored.refused)
                self.figures.time("save_seconds", stored.took_s)
        is_news = report.saves or report.load_s_per_token or report.compute_s_per_token
        return report if is_news else None

    def close(self) -> None:
        """Finish what is under way."""
        self._loads.close()
        self._saves.close()

    def _parts(self, load: Load) -> int:
        """Give how many threads share a load: a single one cannot fill the memory bus, and a small load need not."""
        sizes = (len(piece.block_ids) * self._names.block_bytes[piece.group] for piece in load.pieces)
        return max(1, min(self._load_threads, sum(sizes) // _PART_BYTES))

    def _load(self, session: Session | None, load: Load, part: int, parts: int) -> _Loaded:
        """Copy a share of each piece in."""
        began_s = time.monotonic()
        bad: list[tuple[int, int]] = []
        tokens = load.tokens[self._rank] if self._rank < len(load.tokens) else (0,) * len(load.pieces)
        for number, (piece, token) in enumerate(zip(load.pieces, tokens, strict=True)):
            count = len(piece.block_ids)
            share = range(count * part // parts, count * (part + 1) // parts)
            failed: Sequence[int] = share
            if session is not None and token:
                wanted = [page if position in share else None for position, page in enumerate(piece.block_ids)]
                try:
                    cache = session.cache(self._names.namespaces[piece.group])
                    failed = self._pages[piece.group].load(cache, cache.attach(token), wanted)
                except PegaError as error:
                    self._link.failed(session, error)
            bad += [(number, position) for position in failed]
        return _Loaded(bad, began_s, time.monotonic())

    def _end_load(self, loading: _Loading) -> bool:
        """Count a load that is over; give whether all of it is there."""
        pieces = loading.load.pieces
        parts: list[_Loaded | None] = [_result(part) for part in loading.parts]
        loads = [part for part in parts if part is not None]
        bad = [found for part in loads for found in part.bad]
        if len(loads) < len(parts):
            bad = [
                (number, position) for number, piece in enumerate(pieces) for position in range(len(piece.block_ids))
            ]
        for number, position in bad:
            self._bad_blocks.add(pieces[number].block_ids[position])
        loaded = sum(len(piece.block_ids) * self._names.block_bytes[piece.group] for piece in pieces)
        loaded -= sum(self._names.block_bytes[pieces[number].group] for number, _ in bad)
        self.figures.count("failed_blocks", len(bad))
        self.figures.count("loaded_bytes", loaded)
        tokens = max(len(piece.block_ids) for piece in pieces) * self._block_tokens
        ended_s = max((part.ended_s for part in loads), default=loading.began_s)
        self.figures.time("load_seconds", ended_s - loading.began_s)
        if not bad and tokens >= _TELLING_TOKENS:
            # Of the copying alone: what it waited for other loads, or for the end of a step, is no trait of it.
            self._load_s_per_token = (ended_s - min(part.began_s for part in loads)) / tokens
        return not bad

    def _save(self, save: Save, fence: Fence) -> _Stored:
        began_s = time.monotonic()
        session = self._link.session
        saved_bytes = refused = 0
        if session is None:
            return _Stored(0, 0, False, 0.0)
        try:
            for piece in save.pieces:
                stored, without_room = self._save_piece(session, piece, fence)
                saved_bytes += stored
                refused += without_room
        except PegaError as error:
            self._link.failed(session, error)
            return _Stored(saved_bytes, refused, False, time.monotonic() - began_s)
        return _Stored(saved_bytes, refused, not refused, time.monotonic() - began_s)

    def _save_piece(self, session: Session, piece: Piece, fence: Fence) -> tuple[int, int]:
        """Store a piece; give the bytes that were not there before, and how many blocks found no room."""
        cache = session.cache(self._names.namespaces[piece.group])
        there = cache.match_prefix(piece.names)
        refused = self._pages[piece.group].save(cache, piece.names, piece.block_ids, fence)
        count = len(piece.names) // HASH_BYTES
        # What was there may have been evicted since, and then found no room.
        stored = max(0, count - there - len(refused))
        return stored * self._names.block_bytes[piece.group], len(refused)


def _result(future: "Future[Any]") -> Any:
    """Give what a transfer came to; None, and a line in the log, if it met an error that nobody expected."""
    if future.cancelled():
        return None
    if (error := future.exception()) is not None:
        _log.error("pegaflow: a transfer failed", exc_info=error)
        return None
    return future.result()
