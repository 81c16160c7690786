"""The contract of a StateStore, whole."""

from __future__ import annotations

from penguiflow_conformance._state.claims import ClaimRules, UnfinishedRules
from penguiflow_conformance._state.endings import EndingRules
from penguiflow_conformance._state.events import EventRules
from penguiflow_conformance._state.extras import BatchRules, BindingRules, PruningRules
from penguiflow_conformance._state.fencing import FencingRules
from penguiflow_conformance._state.joins import JoinRules
from penguiflow_conformance._state.listing import ListingRules
from penguiflow_conformance._state.opening import OpeningRules
from penguiflow_conformance._state.steps import StepRules

__all__ = ["StateStoreContract"]


class StateStoreContract(
    EventRules,
    BatchRules,
    BindingRules,
    OpeningRules,
    ClaimRules,
    UnfinishedRules,
    FencingRules,
    StepRules,
    JoinRules,
    EndingRules,
    ListingRules,
    PruningRules,
):
    """Proves a `StateStore`: subclass it in a test module and give it a fixture `make_store`.

    The fixture returns a function that makes the store, plain or async. Each call makes what another process would
    have, another handle on the same data; a store in memory returns the same object again. What is made is closed
    after the test by its `aclose` or `close`, where it has one. Tests use trace ids that occur once, so the data may
    be shared between tests; those of `Pruning` forget every trace that has ended.

    The optional Protocols (`EventBatches`, `RemoteBindings`, `Pruning`, `TraceListing`, `JournalStore`) are tested
    where the store has them; `requires` names those that it must have.
    """
