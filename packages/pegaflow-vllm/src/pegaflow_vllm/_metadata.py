"""What the scheduler and the workers tell each other. All of it is pickled."""

from dataclasses import dataclass, field

from pegaflow_vllm._compat import KVConnectorHandshakeMetadata, KVConnectorMetadata, KVConnectorWorkerMetadata


@dataclass(frozen=True)
class Piece:
    """Blocks of one group of layers: their names, packed, and where they lie in vLLM's cache."""

    group: int
    names: bytes
    block_ids: tuple[int, ...]


@dataclass(frozen=True)
class Load:
    """Blocks on their way to a request, which waits for them."""

    request_id: str
    pieces: tuple[Piece, ...]
    tokens: tuple[tuple[int, ...], ...]
    """The token of the lease for each rank, and there for each piece; empty if there is none."""


@dataclass(frozen=True)
class Save:
    """Blocks to be stored. The scheduler keeps them from being reused until every rank has reported the number."""

    number: int
    pieces: tuple[Piece, ...]


@dataclass
class StepMetadata(KVConnectorMetadata):
    """What the workers do in one step."""

    loads: list[Load] = field(default_factory=list)
    saves: list[Save] = field(default_factory=list)
    tokens: int = 0
    """How many are computed in this step; with none, the worker may wait a little for its transfers."""

    waits: bool = False
    """A request waits for what another engine has announced."""


@dataclass
class WorkerReport(KVConnectorWorkerMetadata):
    """What the workers have done by the end of a step, and what they measured."""

    saves: dict[int, int] = field(default_factory=dict)
    """For each save that is over, how many ranks say so."""

    incomplete: set[int] = field(default_factory=set)
    """Those of them of which not all blocks are stored now."""

    load_s_per_token: float | None = None
    """How long loading a token took."""

    compute_s_per_token: float | None = None
    """How long computing a token took."""

    def aggregate(self, other: KVConnectorWorkerMetadata) -> "WorkerReport":
        """Add the report of another rank."""
        assert isinstance(other, WorkerReport)
        saves = dict(self.saves)
        for number, ranks in other.saves.items():
            saves[number] = saves.get(number, 0) + ranks
        return WorkerReport(
            saves,
            self.incomplete | other.incomplete,
            _slowest(self.load_s_per_token, other.load_s_per_token),
            _slowest(self.compute_s_per_token, other.compute_s_per_token),
        )


def _slowest(*times_s: float | None) -> float | None:
    return max((time_s for time_s in times_s if time_s is not None), default=None)


@dataclass(frozen=True)
class RankNames(KVConnectorHandshakeMetadata):
    """Where one rank keeps its part of the blocks."""

    namespaces: tuple[str, ...]
    """For each group of layers."""

    block_bytes: tuple[int, ...]
    """For each group of layers."""
