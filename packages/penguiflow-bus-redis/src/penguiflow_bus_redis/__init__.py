"""The message bus of flows on Redis Streams."""

from penguiflow_bus_redis._bus import RedisMessageBus, open_url
from penguiflow_bus_redis._errors import (
    BusClosed,
    BusError,
    BusMisconfigured,
    BusRefused,
    BusUnavailable,
    MessageNotJson,
    PartitionsDiffer,
)

__all__ = [
    "BusClosed",
    "BusError",
    "BusMisconfigured",
    "BusRefused",
    "BusUnavailable",
    "MessageNotJson",
    "PartitionsDiffer",
    "RedisMessageBus",
    "open_url",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
