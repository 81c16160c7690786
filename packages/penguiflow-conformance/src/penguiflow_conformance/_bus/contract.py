"""The contract of a MessageBus, whole."""

from __future__ import annotations

from penguiflow_conformance._bus.extras import DeadLetterRules, ExpiryRules
from penguiflow_conformance._bus.leases import ExtensionRules, RedeliveryRules
from penguiflow_conformance._bus.order import OrderRules
from penguiflow_conformance._bus.pressure import BatchedPutRules, BusCancellationRules, PressureRules

__all__ = ["MessageBusContract"]


class MessageBusContract(
    OrderRules,
    RedeliveryRules,
    ExtensionRules,
    PressureRules,
    BusCancellationRules,
    BatchedPutRules,
    DeadLetterRules,
    ExpiryRules,
):
    """Proves a `MessageBus`: subclass it in a test module and give it a fixture `make_bus`.

    The fixture returns a function that makes the bus, plain or async. Each call makes what another process would have,
    another handle on the same queues; a bus in memory returns the same object again. What is made is closed after the
    test by its `aclose` or `close`, where it has one. Tests use queues whose names occur once, so the server may be
    shared between tests.

    `lease_s`, `capacity` and `max_deliveries` say how the buses are made. A short lease makes the tests quick; where a
    machine is too slow for it, they try again, and in the end are skipped. The optional Protocols (`BatchedPuts`,
    `ExtendableLeases`, `ExpiringQueues`, `DeadLetters`) are tested where the bus has them; `requires` names those that
    it must have.
    """
