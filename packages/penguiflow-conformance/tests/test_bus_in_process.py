"""The bus in process keeps the contract, its optional parts included."""

import pytest

from penguiflow.bus import BatchedPuts, DeadLetters, ExpiringQueues, ExtendableLeases, InProcBus, MessageBus
from penguiflow_conformance import MessageBusContract
from penguiflow_conformance._adapters import Make


class TestInProcBus(MessageBusContract):
    requires = frozenset({BatchedPuts, DeadLetters, ExpiringQueues, ExtendableLeases})
    lease_s = 0.2
    calm_s = 0.05

    @pytest.fixture
    def make_bus(self) -> Make[MessageBus]:
        bus = InProcBus(maxsize=self.capacity, lease_s=self.lease_s, max_deliveries=self.max_deliveries)
        return lambda: bus
