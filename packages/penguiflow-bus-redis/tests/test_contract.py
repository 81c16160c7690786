"""The contract of every message bus."""

from collections.abc import Callable
from typing import ClassVar

import pytest
from servers import RedisServer

from penguiflow.bus import BatchedPuts, DeadLetters, ExpiringQueues, ExtendableLeases
from penguiflow_bus_redis import RedisMessageBus
from penguiflow_conformance import MessageBusContract


class TestRedisMessageBus(MessageBusContract):
    requires: ClassVar[set[type]] = {BatchedPuts, DeadLetters, ExpiringQueues, ExtendableLeases}
    lease_s = 1.0
    capacity = 16
    max_deliveries = 4

    @pytest.fixture
    def make_bus(self, oldest_server: RedisServer, prefix: str) -> Callable[[], RedisMessageBus]:
        return lambda: RedisMessageBus(
            oldest_server.url,
            prefix=prefix,
            lease_s=self.lease_s,
            max_len=self.capacity,
            max_deliveries=self.max_deliveries,
        )
