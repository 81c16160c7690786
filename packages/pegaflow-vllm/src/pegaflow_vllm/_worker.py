"""The worker's side: blocks on their way between vLLM's cache and the sidecar."""

import logging
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

from pegaflow import PegaError
from pegaflow_vllm._layout import GroupPages, group_pages
from pegaflow_vllm._link import Link
from pegaflow_vllm._metadata import Load, Piece, RankNames, Save, StepMetadata, WorkerReport
from pegaflow_vllm._progress import Progress

_log = logging.getLogger("vllm.pegaflow")

_IDLE_WAIT_S = 0.005
"""How long a step without computation waits for a transfer: short enough that a new request hardly waits for it."""


@dataclass
class _Loading:
    load: Load
    futures: "list[Future[list[int]]]"


class WorkerSide:
    """Loads and saves blocks of one rank. Called by vLLM's thread; the copies run on others."""

    def __init__(
        self, link: Link, *, identity: str, rank: int, groups: Sequence[Sequence[str]], num_blocks: int
    ) -> None:
        self._link = link
        self._identity = identity
        self._rank = rank
        self._groups = groups
        self._num_blocks = num_blocks
        self._pages: list[GroupPages] = []
        self._names = RankNames((), ())
        self._loads = Progress("pegaflow-load", 2)
        self._saves = Progress("pegaflow-save", 1)
        self._loading: dict[str, _Loading] = {}
        self._saving: dict[int, Future[None]] = {}
        self._bad_blocks: set[int] = set()
        self._failed: set[str] = set()

    def register(self, kv_caches: dict[str, Any]) -> RankNames:
        """Take the tensors of vLLM's cache; give where this rank keeps its blocks."""
        self._pages = group_pages(kv_caches, self._groups, self._num_blocks)
        namespaces = tuple(
            f"vllm/{self._identity}/{pages.digest[:16]}/r{self._rank}/g{group}"
            for group, pages in enumerate(self._pages)
        )
        self._names = RankNames(namespaces, tuple(pages.block_bytes for pages in self._pages))
        return self._names

    @property
    def names(self) -> RankNames:
        """Where this rank keeps its blocks."""
        return self._names

    def start_loads(self, step: StepMetadata) -> None:
        """Begin the loads of a step."""
        for load in step.loads:
            self._loading[load.request_id] = _Loading(load, [self._loads.start(self._load, load)])

    def start_saves(self, step: StepMetadata) -> None:
        """Begin the saves of a step, whose blocks are computed."""
        for save in step.saves:
            self._saving[save.number] = self._saves.start(self._save, save)

    def finished_loads(self, step: StepMetadata) -> tuple[set[str], set[str]]:
        """Give the requests whose loads are over, and which of them failed."""
        if step.is_idle and (self._loading or self._saving):
            (self._loads if self._loading else self._saves).wait(_IDLE_WAIT_S)
        finished, failed = set(), set()
        for request_id, loading in list(self._loading.items()):
            if all(future.done() for future in loading.futures):
                del self._loading[request_id]
                finished.add(request_id)
                bad = _outcome(loading)
                if bad:
                    failed.add(request_id)
                    self._bad_blocks |= bad
        return finished, failed

    def take_bad_blocks(self) -> set[int]:
        """Give the blocks that could not be loaded, once."""
        bad, self._bad_blocks = self._bad_blocks, set()
        return bad

    def report(self) -> WorkerReport | None:
        """Give the saves that are over, once."""
        over = [number for number, future in self._saving.items() if future.done()]
        for number in over:
            future = self._saving.pop(number)
            if not future.cancelled() and (error := future.exception()) is not None:
                _log.error("pegaflow: a save failed", exc_info=error)
        return WorkerReport(dict.fromkeys(over, 1)) if over else None

    def close(self) -> None:
        """Finish what is under way."""
        self._loads.close()
        self._saves.close()

    def _load(self, load: Load) -> list[int]:
        """Copy blocks in; give those that could not be had."""
        bad: list[int] = []
        session = self._link.session
        tokens = load.tokens[self._rank] if self._rank < len(load.tokens) else ()
        for piece, token in zip(load.pieces, tokens or [0] * len(load.pieces), strict=True):
            failed: Sequence[int] = range(len(piece.block_ids))
            if session is not None and token:
                try:
                    cache = session.cache(self._names.namespaces[piece.group])
                    failed = cache.load_into(cache.attach(token), self._memory(piece))
                except PegaError as error:
                    self._link.failed(session, error)
                    session = None
            bad += [piece.block_ids[position] for position in failed]
        return bad

    def _save(self, save: Save) -> None:
        session = self._link.session
        if session is None:
            return
        try:
            for piece in save.pieces:
                session.cache(self._names.namespaces[piece.group]).store(piece.names, self._memory(piece))
        except PegaError as error:
            self._link.failed(session, error)

    def _memory(self, piece: Piece) -> list[list[Any]]:
        layers = self._pages[piece.group].layers
        return [[layer[block_id] for layer in layers] for block_id in piece.block_ids]


def _outcome(loading: _Loading) -> set[int]:
    bad: set[int] = set()
    for future in loading.futures:
        try:
            bad.update(future.result())
        except CancelledError:
            bad.update(*(piece.block_ids for piece in loading.load.pieces))
        except Exception:
            _log.exception("pegaflow: a load failed")
            bad.update(*(piece.block_ids for piece in loading.load.pieces))
    return bad
