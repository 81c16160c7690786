"""What a bus was told, in one place."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from penguiflow_bus_redis._errors import BusMisconfigured

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a bus; what they mean stands at `RedisMessageBus`."""

    url: str
    prefix: str
    max_len: int
    lease_s: float
    max_deliveries: int | None
    max_dead: int
    partitions: int
    read_ahead: int
    give_up_s: float
    identity: str = field(default_factory=lambda: uuid.uuid4().hex)
    """What tells this bus from every other one."""

    def __post_init__(self) -> None:
        for name in ("max_len", "max_dead", "partitions", "read_ahead", "max_deliveries"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BusMisconfigured(f"{name}={value!r} is not usable: it must be at least 1")
        if not self.lease_s >= 0.05:
            # Below, a consumer that is alive and well would lose its leases to the scheduler of a busy machine.
            raise BusMisconfigured(f"lease_s={self.lease_s!r} is not usable: it must be at least 0.05 seconds")
        if not self.give_up_s > 0:
            raise BusMisconfigured(f"give_up_s={self.give_up_s!r} is not usable: it must be positive")
        if not self.prefix or set(self.prefix) & set("{}"):
            raise BusMisconfigured(f"prefix={self.prefix!r} is not usable: it must be text without braces")

    @property
    def channel(self) -> str:
        """Where this bus hears that something waits for it."""
        return f"{self.prefix}:bell:{self.identity}"

    @property
    def lease_ms(self) -> int:
        """The lease as Redis counts."""
        return round(self.lease_s * 1000)

    @property
    def beat_s(self) -> float:
        """How often a consumer says that it lives."""
        return min(self.lease_s / 3, 5.0)

    @property
    def linger_s(self) -> float:
        """How long a consumer keeps its partitions while nobody asks for messages."""
        return min(self.lease_s / 3, 1.0)

    def key(self, queue: str) -> str:
        """Return what all keys of a queue begin with: a hash tag, so that a cluster keeps them together."""
        return f"{{{self.prefix}:{queue}}}"
